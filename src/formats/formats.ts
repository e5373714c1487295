/** Formats of strings as patterns (each within what the format's own definition allows), and how long a pattern's texts are. */
import type { Expression } from './expression';

const DATE = '[12]\\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])';
const TIME = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)';
const LABEL = '[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?';
const HOST = `${LABEL}(\\.${LABEL}){0,3}\\.[a-z]{2,10}`;
const BYTE = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';

/** RFC 3339 (days up to 28), RFC 9562, RFC 5321, RFC 3986, as far as a grammar of a line goes. */
export const formatPatterns: ReadonlyMap<string, string> = new Map([
  ['date', DATE],
  ['time', TIME],
  ['date-time', `${DATE}T${TIME}`],
  ['uuid', '[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'],
  ['email', `[a-z0-9_+-]{1,32}(\\.[a-z0-9_+-]{1,15}){0,2}@${HOST}`],
  ['hostname', HOST],
  ['ipv4', `(${BYTE}\\.){3}${BYTE}`],
  ['uri', `https?://${HOST}(/[A-Za-z0-9_.~-]{1,64}){0,8}/?`],
  ['url', `https?://${HOST}(/[A-Za-z0-9_.~-]{1,64}){0,8}/?`],
]);

/** The fewest and the most characters that an expression without rules can have. */
export function lengthsOf(expression: Expression): { min: number; max: number } {
  switch (expression.kind) {
    case 'text': {
      const { length } = Array.from(expression.text);
      return { min: length, max: length };
    }
    case 'character':
      return { min: 1, max: 1 };
    case 'sequence': {
      const parts = expression.parts.map(lengthsOf);
      return { min: parts.reduce((sum, { min }) => sum + min, 0), max: parts.reduce((sum, { max }) => sum + max, 0) };
    }
    case 'choice': {
      const options = expression.options.map(lengthsOf);
      return { min: Math.min(...options.map(({ min }) => min)), max: Math.max(...options.map(({ max }) => max)) };
    }
    case 'repeat': {
      const { min, max } = lengthsOf(expression.of);
      return { min: min * expression.min, max: max === 0 || expression.max === 0 ? 0 : max * expression.max };
    }
    case 'rule':
      return { min: 0, max: Infinity };
  }
}
