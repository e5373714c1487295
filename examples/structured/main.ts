/** An object that a schema describes: only tokens that lead to one are chosen, and it is closed before the room is used up. */
import { load } from 'sterna';

const source = { url: '/models/tiny-stories-ternary/' }; // or 'microsoft/bitnet-b1.58-2B-4T', from the Hugging Face Hub

/** What is asked for; the prompt says what it means, the schema how it looks. */
interface Pet {
  kind: 'dog' | 'cat' | 'bird';
  name: string;
  age: number;
  likes: string[];
}
const schema = {
  type: 'object',
  properties: {
    kind: { enum: ['dog', 'cat', 'bird'] },
    name: { type: 'string', minLength: 2, maxLength: 20 },
    age: { type: 'integer', minimum: 0, maximum: 30 },
    likes: { type: 'array', items: { type: 'string', maxLength: 30 }, maxItems: 3 },
  },
  required: ['kind', 'name', 'age', 'likes'],
};

const find = <T extends Element>(selector: string) => document.querySelector<T>(selector)!;
const [button, status, text, list] = [find<HTMLButtonElement>('button'), find('output'), find('pre'), find('dl')];

const model = await load(source);
status.textContent = `${model.info.name} is ready.`;
button.disabled = false;
button.onclick = async () => {
  button.disabled = true;
  text.textContent = '';
  list.replaceChildren();
  try {
    const messages = [{ role: 'user', content: 'Tell me about a pet: what it is, its name, its age, what it likes.' }];
    const answer = model.chat(messages, { maxTokens: 120, responseFormat: { type: 'json_schema', schema } });
    for await (const chunk of answer) text.append(chunk.text);
    const result = await answer.result;
    status.textContent = `finishReason: ${result.finishReason}`;
    if (result.finishReason !== 'stop') return; // cut: by an abort, or where there was no room for it
    const pet: Pet = JSON.parse(result.text);
    for (const [name, value] of Object.entries(pet)) {
      const [term, description] = [document.createElement('dt'), document.createElement('dd')];
      term.textContent = name;
      description.textContent = Array.isArray(value) ? value.join(', ') : String(value);
      list.append(term, description);
    }
  } catch (error) {
    status.textContent = String(error); // a SternaError: what was expected, and what was found
  } finally {
    button.disabled = false;
  }
};
