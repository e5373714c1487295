/** Test machines with several threads: thread 0 may have to sleep, which a page must not do. */
import { expose, transfer } from 'comlink';
import { type ErrorRecord, toRecord } from '../src/errors';
import type { Row } from '../src/model/pool';
import type { ReferenceModel } from '../src/model/reference';
import { type MachineOptions, openMachine, openPlanted, type TestMachine } from './machine';
import type { ModelFiles } from './reading';

let machine: TestMachine | undefined;

function current(): TestMachine {
  if (!machine) throw new Error('no machine is open');
  return machine;
}

/** One machine at a time: the next one takes the place of the last. */
const host = {
  async open(files: ModelFiles, options: MachineOptions): Promise<void> {
    machine?.end();
    machine = await openMachine(files, options);
  },
  async plant(model: ReferenceModel, options: MachineOptions): Promise<void> {
    machine?.end();
    machine = await openPlanted(model, options);
  },
  /** Every time from dirty memory. */
  async logits(passes: Row[][], best = 0): Promise<Float32Array<ArrayBuffer>> {
    const opened = current();
    opened.poison();
    const out = await opened.logits(passes, best);
    return transfer(out, [out.buffer]);
  },
  /** The error that a pass ends in. */
  async failure(rows: Row[]): Promise<ErrorRecord | undefined> {
    try {
      await current().pool.run(rows, 0);
      return undefined;
    } catch (error) {
      return toRecord(error);
    }
  },
};

export type MachineHost = typeof host;

expose(host);
