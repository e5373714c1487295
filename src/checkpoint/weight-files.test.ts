import { describe, expect, test } from 'vitest';
import { failure, never } from '../../e2e/source-checks';
import { openOrigin } from '../sources/origin';
import { chooseWeights } from './weight-files';

const picked = (...names: string[]) =>
  openOrigin(
    names.map((name) => new File(['x'], name)),
    never,
  );
const listed = async (names: string[], file?: string) => ({ ...(await picked(...names)), key: 'hub:x', file });

describe('GGUF files', () => {
  test.each(['a.gguf', 'a.GGUF', 'a.GgUf'])('%s is one, picked or named', async (name) => {
    const right = { kind: 'gguf', paths: [name] };
    expect(chooseWeights(await picked(name, 'README.md'))).toEqual(right);
    expect(chooseWeights(await listed([name, 'b.gguf'], name))).toEqual(right);
  });

  test.each(['gguf', 'GGUF'])('the parts of a split one end as it does: .%s', async (end) => {
    const parts = ['a-00001-of-00002', 'a-00002-of-00002'].map((part) => `${part}.${end}`);
    expect(chooseWeights(await picked(...parts))).toEqual({ kind: 'gguf', paths: parts });
    expect(chooseWeights(await listed(parts, parts[1]))).toEqual({ kind: 'gguf', paths: parts });
    const error = await failure(async () => chooseWeights(await picked(parts[0]!)));
    expect(error).toMatchObject({ code: 'bad-file', file: parts[1], got: 'nothing' });
  });

  test('of several, a repository takes a name; of picked ones, one is to be picked', async () => {
    const names = ['a.gguf', 'b.GGUF'];
    const some = { code: 'bad-input', got: 'a.gguf, b.GGUF' };
    expect(await failure(async () => chooseWeights(await listed(names)))).toMatchObject({
      ...some,
      expected: 'the name of one of them as `file`',
    });
    expect(await failure(async () => chooseWeights(await picked(...names)))).toMatchObject({
      ...some,
      expected: 'one of them: pick it alone',
    });
    expect(chooseWeights(await picked(...names, 'model-i2_s.GGUF'))?.paths).toEqual(['model-i2_s.GGUF']);
  });
});
