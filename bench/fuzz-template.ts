/** Damaged chat templates, and damaged conversations. */

import type { Message } from '../src/protocol/generate-types';
import { encodeChat, renderChat } from '../src/text/chat-template';
import { createTokenizer } from '../src/text/tokenizer';
import { mutateJson, mutateText, pick } from './fuzz-mutate';
import { readJson } from './fuzz-seeds';
import type { Target } from './fuzz-target';

const scraps = [
  ...['{% for i in range(9) %}', '{% endfor %}', '{{ range(1000000000) }}', '{{ range(0, 9, -1) }}', '{% if true %}'],
  ...['{% endif %}', '{% set s = s ~ s %}', '{% set x = [x, x] %}', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}'],
  ...[
    '| indent(100000000)',
    '| tojson(indent=4)',
    '| length',
    '| replace("", "xxxx")',
    '* 1000000000',
    '** 99',
    '[::0]',
  ],
  ...[
    'messages',
    'loop',
    'namespace',
    '__proto__',
    'constructor',
    "['constructor']",
    '.__proto__',
    '{#',
    '-%}',
    '{{',
    '}}',
  ],
  ...[
    '{% for a in messages %}{% for b in messages %}{% for c in a.content %}',
    '{% break %}',
    'not in',
    '~',
    '|',
    '('.repeat(5000),
  ],
];

const loops = `{% set ns = namespace(out='', n=0) %}{% for i in range(20) %}{% for j in range(20) %}{% set ns.out = ns.out ~ i %}{% endfor %}{% endfor %}
{%- macro turn(role, text='x') -%}<|{{ role }}|>{{ text | trim | indent(2) }}{%- endmacro -%}
{%- for m in messages if m.role != 'system' -%}{{ turn(m['role'], text=m.content) }}{{ m | tojson(indent=2) }}
{%- if loop.last and m.content.split(' ')[0] in ['a', 'b'] -%}{{ raise_exception('no') }}{%- endif -%}
{%- endfor -%}{{ ns.out[::-1] }}{{ ('ab' * 3) if ns.n else 'ab' | upper | replace('A', 'aa') }}{{ messages | map(attribute='role') | join(', ') }}`;

const llama3 = `{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}`;

export function templateTarget(): Target {
  const folder = 'demo/public/models/tiny-stories-ternary';
  const config = readJson(`${folder}/tokenizer_config.json`);
  const tokenizer = createTokenizer(readJson(`${folder}/tokenizer.json`), config);
  const templates = [config.chat_template as string, llama3, loops];
  const messages: Message[] = [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Hi <|eot_id|> there\n' },
  ];
  const variables = { bosToken: '<s>', eosToken: '</s>', addGenerationPrompt: true };
  return {
    name: 'template',
    input: (random) => ({
      template: mutateText(pick(random, templates), random, scraps),
      messages: random() < 0.9 ? JSON.stringify(messages) : mutateJson(messages, random),
    }),
    run({ template, messages }) {
      let said: Message[];
      try {
        said = JSON.parse(messages as string) as Message[];
      } catch {
        return 'no messages';
      }
      renderChat(template as string, said, variables);
      const { text, ids } = encodeChat(tokenizer, template as string, said, true);
      if (typeof text !== 'string' || !ids.every(Number.isInteger)) throw new Error('no ids');
      return 'accepted';
    },
  };
}
