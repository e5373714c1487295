/** A conversation: the model is loaded once (and kept in the browser), answers stream in, and can be stopped. */
import { type Generation, load, type Message } from 'sterna';

const source = { url: '/models/tiny-stories-ternary/' }; // or 'microsoft/bitnet-b1.58-2B-4T', from the Hugging Face Hub

const find = <T extends Element>(selector: string) => document.querySelector<T>(selector)!;
const [bar, status, form] = [find<HTMLProgressElement>('progress'), find('output'), find<HTMLFormElement>('form')];
const [messages, send, stop] = [
  find('#messages'),
  find<HTMLButtonElement>('form button'),
  find<HTMLButtonElement>('#stop'),
];

const loading = load(source, {
  onProgress({ phase, loaded, total }) {
    status.textContent = phase;
    if (total > 0) bar.value = loaded / total;
  },
});
loading.then(
  (model) => {
    bar.remove();
    status.textContent = `${model.info.name}, ${model.info.threads} threads`;
  },
  (error) => {
    status.textContent = String(error); // a SternaError: what was expected, and what was found
  },
);

const conversation: Message[] = [];
let answer: Generation | undefined;

/** A paragraph at the end of the conversation. */
function paragraph(text: string): HTMLElement {
  const p = document.createElement('p');
  p.textContent = text;
  messages.append(p);
  return p;
}

form.onsubmit = async (event) => {
  event.preventDefault();
  const question = new FormData(form).get('question') as string;
  send.disabled = true;
  stop.disabled = false;
  try {
    const model = await loading;
    conversation.push({ role: 'user', content: question });
    paragraph(question);
    const reply = paragraph('');
    answer = model.chat(conversation, { maxTokens: 200 }); // the template and the settings are the model's own
    for await (const { text } of answer) reply.append(text);
    const result = await answer.result; // also after a stop: with what was written until then
    conversation.push({ role: 'assistant', content: result.text });
    status.textContent = `${result.finishReason}, ${result.timings.decodeTokensPerSecond.toFixed(0)} tokens a second`;
  } catch (error) {
    status.textContent = String(error);
  }
  send.disabled = false;
  stop.disabled = true;
};
stop.onclick = () => answer?.abort();
