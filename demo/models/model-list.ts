import { html, type TemplateResult } from 'lit';
import type { CachedModel } from '../../src/index';
import { bytes } from '../figures';
import { knownModel, knownModels, titleOf } from './known-models';
import { cachedOf, percent, shareOf } from './on-device';
import { embedded, isEmbedded, originOf, type PageSource, sameSource } from './source';

interface Entry {
  name: string;
  about: string;
  source: PageSource;
  /** Size of the download where it is known beforehand. */
  bytes?: number;
}

const embeddedEntry: Entry = {
  name: 'tiny-stories-ternary',
  about: 'Sterna. Very short stories in English, 5 million parameters. MIT',
  source: embedded,
};

/** The embedded model, what else is on this device, and the models that the page knows by name. `hub`: another hub than Hugging Face's. */
function entriesOf(models: readonly CachedModel[], hub: string | undefined): Entry[] {
  const known = knownModels.map(({ name, about, licence, bytes: size, source }) => {
    return { name, about: `${about}. ${licence}`, bytes: size, source: hub ? { ...source, hubUrl: hub } : source };
  });
  const others = models
    .filter((model) => !model.outdated && !isEmbedded(model.source) && !knownModel(model.source))
    .map(({ name, source }) => ({ name: titleOf(source, name), about: originOf(source), source }));
  return [embeddedEntry, ...others, ...known];
}

type Standing = 'page' | 'complete' | 'partly' | 'no';

/** Whether a model is here already, in a word and in words. */
function standing(entry: Entry, models: readonly CachedModel[]): readonly [Standing, string] {
  if (isEmbedded(entry.source)) return ['page', 'Comes with the page'];
  const cached = cachedOf(entry.source, models);
  if (cached?.complete) return ['complete', 'On this device'];
  if (!cached) return ['no', `Download, about ${bytes(entry.bytes ?? 0)}`];
  const share = shareOf(cached);
  const left = entry.bytes === undefined ? 'a download to be resumed' : `${bytes(entry.bytes * (1 - share))} to go`;
  return ['partly', `${percent(share)} here, ${left}`];
}

/** The models to choose from, each with what it is and whether it is here already. */
export function modelList(
  models: readonly CachedModel[],
  running: PageSource | undefined,
  hub: string | undefined,
  choose: (source: PageSource) => void,
): TemplateResult {
  return html`
    <ul class="models">
      ${entriesOf(models, hub).map((entry) => {
        const [state, words] = standing(entry, models);
        const runs = running !== undefined && sameSource(entry.source, running);
        return html`
          <li>
            <button
              data-testid="model"
              data-name=${entry.name}
              data-standing=${state}
              aria-current=${runs}
              @click=${() => choose(entry.source)}
            >
              <b>${entry.name}</b>
              <span class="standing">${runs ? 'In use' : words}</span>
              <span class="about">${entry.about}</span>
            </button>
          </li>
        `;
      })}
    </ul>
  `;
}
