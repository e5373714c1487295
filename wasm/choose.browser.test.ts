// src/model/kernels.ts: which build and which kernel, and that an engine which computes wrongly is found out. The wrong engine
// is a WebAssembly.Instance whose exports are changed; the real kernels run behind it.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { chooseKernel, compileKernels, type Kernels } from '../src/model/kernels';
import type { KernelName } from '../src/model/memory';

const CANDIDATES: KernelName[] = ['dot32', 'dot16', 'lut8'];
const MODES = [true, false];

afterEach(() => {
  vi.restoreAllMocks();
});

type Doctor = (real: Kernels, floats: Float32Array) => Partial<Kernels>;

/** From now on every instance has the doctored exports. */
function doctor(change: Doctor): void {
  const Real = WebAssembly.Instance;
  class Doctored {
    readonly exports: WebAssembly.Exports;
    constructor(module: WebAssembly.Module, imports?: WebAssembly.Imports) {
      const real = new Real(module, imports).exports;
      const { buffer } = imports!.env!.memory as WebAssembly.Memory;
      this.exports = { ...real, ...change(real as unknown as Kernels, new Float32Array(buffer)) };
    }
  }
  vi.spyOn(WebAssembly, 'Instance').mockImplementation(Doctored);
}

/** Changes what a dot kernel has written. */
const dot =
  (name: 'gemvDot32' | 'gemvDot16', wrong: (y: number, row: number) => number): Doctor =>
  (real, floats) => ({
    [name]: (...args: Parameters<Kernels['gemvDot32']>) => {
      real[name](...args);
      const [, , , rows, , , out] = args;
      for (let r = 0; r < rows; r++) floats[out / 4 + r] = wrong(floats[out / 4 + r]!, r);
    },
  });

const WRONG: Record<string, Doctor> = {
  'dot32 doubles': dot('gemvDot32', (y) => 2 * y),
  'dot16 doubles': dot('gemvDot16', (y) => 2 * y),
  'dot32 is one off in one row': dot('gemvDot32', (y, r) => (r === 13 ? y + 1 : y)),
  'dot16 saturates': dot('gemvDot16', (y) => Math.min(y, 2000)),
  'dot32 gives nothing': dot('gemvDot32', () => 0),
  // an engine may compute otherwise once it has optimised the code
  'dot16 doubles after a while': (real, floats) => {
    let calls = 0;
    return dot('gemvDot16', (y) => (calls++ > 10_000 ? 2 * y : y))(real, floats);
  },
};

const lut: Doctor = (real, floats) => ({
  gemvLut8: (...args: Parameters<Kernels['gemvLut8']>) => {
    real.gemvLut8(...args);
    floats[args[9] / 4]! += 1;
  },
});
const head: Doctor = (real, floats) => ({
  headInt8: (...args: Parameters<Kernels['headInt8']>) => {
    real.headInt8(...args);
    floats[args[8] / 4 + 2]! *= 2;
  },
});

describe.each(MODES)('shared %s', (shared) => {
  test('auto: the fastest of the candidates, with its rates', async () => {
    const choice = await chooseKernel('auto', shared);
    expect(choice.relaxedSimd).toBe(true);
    const rates = CANDIDATES.map((kernel) => choice.rates[kernel]!);
    for (const rate of rates) expect(rate).toBeGreaterThan(0.1);
    expect(choice.rates[choice.kernel]).toBe(Math.max(...rates));
    expect(Object.keys(choice.rates).sort()).toEqual([...CANDIDATES].sort());
    expect(choice.reason).toMatch(/fastest/);
    expect(WebAssembly.Module.exports(choice.module).map(({ name }) => name)).toContain('gemvDot32');
  });

  test.each(CANDIDATES)('%s, forced', async (kernel) => {
    const choice = await chooseKernel(kernel, shared);
    expect(choice.kernel).toBe(kernel);
    expect(choice.reason).toMatch(/as asked/);
    expect(choice.screens).toBe(true);
    expect(choice.rates[kernel]).toBeGreaterThan(0);
  });

  test('the build follows what is asked for', async () => {
    const [relaxed, baseline] = await Promise.all([compileKernels(shared), compileKernels(shared, false)]);
    expect(relaxed.relaxedSimd).toBe(true);
    expect(baseline.relaxedSimd).toBe(false);
    for (const { module } of [relaxed, baseline]) {
      const at = (sharing: boolean): WebAssembly.Instance =>
        new WebAssembly.Instance(module, {
          env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: sharing }) },
        });
      expect(() => at(shared)).not.toThrow();
      expect(() => at(!shared)).toThrow(WebAssembly.LinkError);
    }
    // the dot kernels of the baseline build are stubs that trap
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared });
    const stub = new WebAssembly.Instance(baseline.module, { env: { memory } }).exports as unknown as Kernels;
    expect(() => stub.gemvDot32(0, 0, 0, 2, 64, 1, 0, 0)).toThrow(WebAssembly.RuntimeError);
    expect(() => stub.gemvDot16(0, 0, 0, 2, 64, 1, 0, 0)).toThrow(WebAssembly.RuntimeError);
  });

  test('without relaxed SIMD: the baseline build and lut8', async () => {
    vi.spyOn(WebAssembly, 'validate').mockImplementation((bytes) => !isRelaxed(bytes));
    const choice = await chooseKernel('auto', shared);
    expect(choice).toMatchObject({ kernel: 'lut8', relaxedSimd: false, screens: true });
    expect(Object.keys(choice.rates)).toEqual(['lut8']);
    expect(choice.reason).toMatch(/no relaxed SIMD/);
    expect((await chooseKernel('lut8', shared)).kernel).toBe('lut8');
    await expect(chooseKernel('dot32', shared)).rejects.toMatchObject({ code: 'unsupported', got: 'dot32' });
    await expect(chooseKernel('dot16', shared)).rejects.toMatchObject({ code: 'unsupported', got: 'dot16' });
  });

  test('without SIMD: unsupported', async () => {
    vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    await expect(chooseKernel('auto', shared)).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('without the binary, or the network: a download error', async () => {
    const fetched = vi.spyOn(globalThis, 'fetch').mockResolvedValue(new Response('', { status: 404 }));
    await expect(chooseKernel('auto', shared)).rejects.toMatchObject({ code: 'download', got: 'HTTP 404' });
    fetched.mockRejectedValue(new TypeError('no network'));
    await expect(chooseKernel('auto', shared)).rejects.toMatchObject({
      code: 'download',
      got: 'TypeError: no network',
    });
  });
});

/** Told apart by the one instruction only they have: 0xfd 0x93 0x02, i32x4.relaxed_dot_i8x16_i7x16_add_s. */
function isRelaxed(source: BufferSource): boolean {
  const bytes = source instanceof ArrayBuffer ? new Uint8Array(source) : new Uint8Array();
  return bytes.some((byte, i) => byte === 0xfd && bytes[i + 1] === 0x93 && bytes[i + 2] === 0x02);
}

describe('an engine that computes wrongly', () => {
  test.each(Object.keys(WRONG))('%s: the relaxed build is dropped', async (what) => {
    doctor(WRONG[what]!);
    const choice = await chooseKernel('auto', true);
    expect(choice).toMatchObject({ kernel: 'lut8', relaxedSimd: false, rates: { dot32: 0, dot16: 0 } });
    expect(choice.rates.lut8).toBeGreaterThan(0);
    expect(choice.reason).toMatch(/wrong/);
    await expect(chooseKernel('dot32', true)).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('the int8 head doubles in the relaxed build only: dropped', async () => {
    let instances = 0;
    doctor((real, floats) => (instances++ === 0 ? head(real, floats) : {}));
    const choice = await chooseKernel('auto', true);
    expect(choice).toMatchObject({ kernel: 'lut8', relaxedSimd: false, rates: { dot32: 0, dot16: 0 } });
    expect(instances).toBe(2);
  });

  test.each([
    ['lut8 is one off', lut],
    ['the int8 head doubles in both builds', head],
  ])('%s: unsupported', async (_, change) => {
    doctor(change);
    await expect(chooseKernel('auto', true)).rejects.toMatchObject({ code: 'unsupported', got: 'wrong sums' });
  });

  test('dot16 doubles for several rows: the relaxed build is dropped', async () => {
    doctor((real, floats) => ({
      gemvDot16Rows: (...args: Parameters<Kernels['gemvDot16Rows']>) => {
        real.gemvDot16Rows(...args);
        floats[args[9] / 4 + 20]! *= 2;
      },
    }));
    expect(await chooseKernel('auto', true)).toMatchObject({ kernel: 'lut8', relaxedSimd: false });
  });

  test.each(CANDIDATES)(
    'bounds of screening that are wrong under %s: no screening, the kernel stays',
    async (kernel) => {
      const name = kernel === 'dot32' ? 'screenRows32' : 'screenRows16';
      doctor((real, floats) => ({
        [name]: (...args: Parameters<Kernels['screenRows16']>) => {
          real[name](...args);
          floats[args[8] / 4 + 1]! *= 1 + 2 ** -23;
        },
      }));
      expect(await chooseKernel(kernel, true)).toMatchObject({ kernel, screens: false });
    },
  );

  test('bounds for several rows at once that are wrong: no screening, the kernel stays', async () => {
    doctor((real, floats) => ({
      screenRows16Several: (...args: Parameters<Kernels['screenRows16Several']>) => {
        real.screenRows16Several(...args);
        floats[(args[10] + args[11]) / 4 + 3]! *= 1 + 2 ** -23;
      },
    }));
    expect(await chooseKernel('dot16', true)).toMatchObject({ kernel: 'dot16', screens: false });
  });

  test('the doctor alone changes nothing', async () => {
    doctor(() => ({}));
    expect(await chooseKernel('auto', true)).toMatchObject({ relaxedSimd: true, screens: true });
  });
});
