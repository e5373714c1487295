/** The test machines of a page, in a worker of their own that lives as long as the page: see machine.worker.ts. */
import { type Remote, wrap } from 'comlink';
import type { ModelConfig } from '../src/config';
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

/** The same with the random model of a seed. */
export async function plantRemote(
  config: ModelConfig,
  seed: number,
  options: MachineOptions,
): Promise<Remote<MachineHost>> {
  const remote = host ?? start();
  await remote.plant(config, seed, options);
  return remote;
}
