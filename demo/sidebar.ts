import { html, nothing, type TemplateResult } from 'lit';
import type { Chat } from './chat/chat';
import type { Chats } from './chat/chats';
import './chat/history-panel';
import { icons, mark } from './mark';
import type { Loading } from './models/loading';
import './models/model-card';
import type { Hit } from './chat/search';
import { toggleTheme } from './theme';

export interface SidebarActions {
  fresh: () => void;
  open: (hit: Hit) => void;
  settings: () => void;
  /** Opens the list of models. */
  choose: () => void;
}

/** Brand and tools, the chats, the model. On a narrow page it is a drawer: a popover named `side`. */
export function sidebar(
  chats: Chats,
  { model, source }: Loading,
  drawer: boolean,
  toggled: (event: Event) => void,
  actions: SidebarActions,
): TemplateResult {
  const { history, conversation, refusal, news } = chats;
  const { chat } = conversation;
  return html`
    <aside id="side" aria-label="Chats and model" popover=${drawer ? 'auto' : nothing} tabindex=${drawer ? -1 : nothing} @beforetoggle=${toggled} @toggle=${focusOpened}>
      <h1 class="brand">${mark(40)} Sterna</h1>
      <div class="tools">
        <button class="icon-button" data-testid="settings" aria-label="Settings" title="Settings" @click=${actions.settings}>
          ${icons.tune}
        </button>
        <button class="icon-button" data-testid="theme" aria-label="Light or dark" title="Light or dark" @click=${toggleTheme}>
          ${icons.theme}
        </button>
      </div>
      <button class="fresh" data-testid="new-chat" ?disabled=${chat.turns.length === 0} @click=${actions.fresh}>
        ${icons.fresh} <span>New chat</span>
      </button>
      <sterna-history
        .chats=${history.chats}
        .current=${chat.id}
        .deleted=${history.deleted}
        .kept=${history.kept}
        .problem=${refusal}
        .news=${news}
        @open=${({ detail }: CustomEvent<Hit>) => actions.open(detail)}
        @rename=${({ detail }: CustomEvent<{ id: string; title: string }>) => chats.rename(detail.id, detail.title)}
        @remove=${({ detail }: CustomEvent<string>) => chats.remove(detail)}
        @undo=${() => history.undelete()}
        @forget=${() => history.forget()}
        @take=${({ detail }: CustomEvent<File>) => chats.take(detail)}
        @give=${({ detail }: CustomEvent<readonly Chat[]>) => chats.give(detail)}
        @calm=${() => chats.calm()}
      ></sterna-history>
      <sterna-model-card .info=${model?.info} .source=${source} @change=${actions.choose}></sterna-model-card>
    </aside>
  `;
}

/** Focus goes into the drawer, and by itself back to where it was opened. */
function focusOpened(event: Event): void {
  if (
    (event as ToggleEvent).newState === 'open' &&
    !(event.currentTarget as HTMLElement).contains(document.activeElement)
  ) {
    (event.currentTarget as HTMLElement).focus();
  }
}

/** Above a narrow page: opens the drawer, names the chat. */
export const bar = (title: string, fresh: () => void): TemplateResult => html`
  <header class="bar">
    <button class="icon-button" data-testid="menu" aria-label="Chats and model" title="Chats and model" popovertarget="side">
      ${icons.menu}
    </button>
    <h1 class="bar-title">${title || 'Sterna'}</h1>
    <button class="icon-button" data-testid="bar-new-chat" aria-label="New chat" title="New chat" @click=${fresh}>
      ${icons.fresh}
    </button>
  </header>
`;
