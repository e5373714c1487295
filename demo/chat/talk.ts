import { html, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { branch, type Turn, versionsIn } from './chat';
import type { Conversation } from './conversation';
import type { Renderer } from './markdown';
import './message';
import type { Versions } from './message';

export interface TalkActions {
  edit: (turn: Turn, text: string) => void;
  regenerate: (turn: Turn) => void;
  /** Goes on with an answer that was cut short. */
  goOn: (turn: Turn) => void;
  /** Shows a version of a turn. */
  show: (id: string) => void;
  /** Loads the model again. */
  reload: () => void;
  /** Begins a new chat. */
  fresh: () => void;
}

function place(turn: Turn, all: readonly Turn[]): Versions {
  const index = all.indexOf(turn);
  return { index, count: all.length, earlier: all[index - 1]?.id, later: all[index + 1]?.id };
}

/** The branch on show, turn by turn. `able`: a model is there to answer. */
export function talk(
  { chat, live, problems }: Conversation,
  renderer: Renderer | undefined,
  able: boolean,
  actions: TalkActions,
): TemplateResult {
  const turns = branch(chat);
  const versions = versionsIn(chat);
  return html`${repeat(
    turns,
    (turn) => chat.id + turn.parent, // versions take each other's place, and focus stays
    (turn) => html`<sterna-message
      id="turn-${turn.id}"
      .turn=${turn}
      .live=${live?.id === turn.id ? live : undefined}
      .problem=${problems.get(turn.id)}
      .versions=${place(turn, versions(turn))}
      .renderer=${renderer}
      .last=${turn === turns.at(-1)}
      .able=${able}
      @edit=${({ detail }: CustomEvent<string>) => actions.edit(turn, detail)}
      @regenerate=${() => actions.regenerate(turn)}
      @continue=${() => actions.goOn(turn)}
      @version=${({ detail }: CustomEvent<string>) => actions.show(detail)}
      @reload=${actions.reload}
      @fresh=${actions.fresh}
    ></sterna-message>`,
  )}`;
}
