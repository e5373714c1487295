/** The test machines of a page, in a worker of their own that lives as long as the page: see machine.worker.ts. */
import { type Remote, wrap } from 'comlink';
import type { ReferenceModel } from '../src/model/reference';
import type { MachineOptions } from './machine';
import type { MachineHost } from './machine.worker';
import type { ModelFiles } from './reading';

let host: Remote<MachineHost> | undefined;

function start(): Remote<MachineHost> {
  const worker = new Worker(new URL('./machine.worker.ts', import.meta.url), { type: 'module' });
  host = wrap<MachineHost>(worker);
  return host;
}

/** A model in a machine; the last one ends. */
export async function openRemote(files: ModelFiles, options: MachineOptions): Promise<Remote<MachineHost>> {
  const remote = host ?? start();
  await remote.open(files, options);
  return remote;
}

/** The same with a model that comes from no file. */
export async function plantRemote(model: ReferenceModel, options: MachineOptions): Promise<Remote<MachineHost>> {
  const remote = host ?? start();
  await remote.plant(model, options);
  return remote;
}
