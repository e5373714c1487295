import { expect, test } from 'vitest';
import { SternaError } from '../src/index';
import { problemOf } from './problem';

test('a browser without SIMD is told to be too old, not the model to be wrong', () => {
  const facts = { got: 'no SIMD128', expected: 'SIMD128' };
  expect(problemOf(new SternaError('unsupported', 'WebAssembly SIMD', facts)).code).toBe('old-browser');
  expect(problemOf(new SternaError('unsupported', 'hidden_act', { got: 'gelu', expected: 'relu2' })).code).toBe(
    'unsupported',
  );
});

test('a conversation that is too long: its tokens, and the room', () => {
  const error = new SternaError('context-full', 'tokens do not fit', { got: 78, expected: 'at most 64' });
  expect(problemOf(error).facts).toEqual([
    ['Room for', 'at most 64'],
    ['Tokens', '78'],
  ]);
});
