// The chat box: /v1/chat/completions, or /v1/completions where the model cannot chat.

const messages = [];  // of the conversation, as the API has them
let running = null;   // the AbortController of the answer that comes

function setRunning(controller) {
  running = controller;
  byId('send').disabled = controller !== null;
  byId('stop').disabled = controller === null;
  byId('log').setAttribute('aria-busy', String(controller !== null));
}

function addTurn(who, text, own) {
  const turn = element('div', own ? 'turn own' : 'turn');
  const parts = { turn, text: element('span', '', text), figures: element('span', 'figures') };
  turn.append(element('b', '', who), parts.text);
  if (!own) turn.append(parts.figures);
  byId('log').append(turn);
  scrollToEnd(true);
  return parts;
}

// Text that comes, shown once a frame: a fast server sends more tokens than a browser can lay out one by one.
class TextFlow {
  constructor(node) {
    this.node = node;
    this.waiting = '';
  }

  add(text) {
    if (!this.waiting && text) requestAnimationFrame(() => this.show());
    this.waiting += text;
  }

  show() {
    this.node.append(this.waiting);
    this.waiting = '';
    scrollToEnd(false);
  }
}

// Follows the text unless the reader has scrolled away from it.
function scrollToEnd(always) {
  const log = byId('log');
  if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 80) log.scrollTop = log.scrollHeight;
}

// The data of each server-sent event; comments are passed over.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    buffer += part.value;
    const blocks = buffer.split('\n\n');
    buffer = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith('data: ')) yield block.slice('data: '.length);
    }
  }
}

function requestBody(prompt, canChat) {
  const body = {
    model: job.model,
    temperature: Number(byId('temperature').value),
    max_tokens: Number(byId('max-tokens').value),
    stream: true,
    stream_options: { include_usage: true },
  };
  if (canChat) return { ...body, messages };
  return { ...body, prompt };
}

// What an answer was, in figures.
class Figures {
  constructor() {
    this.begin = performance.now();
    this.first = null;
    this.usage = null;
    this.finish = '';
  }

  take(chunk) {
    this.first ??= performance.now();
    this.usage = chunk.usage ?? this.usage;
    this.finish = chunk.choices[0]?.finish_reason ?? this.finish;
  }

  text() {
    const end = performance.now();
    const parts = [];
    if (this.usage) parts.push(`${this.usage.completion_tokens} tokens`);
    if (this.usage?.completion_tokens > 1 && end > this.first) {
      parts.push(`${showNumber((this.usage.completion_tokens - 1) / ((end - this.first) / 1000))} tokens/s`);
    }
    if (this.first !== null) parts.push(`first after ${Math.round(this.first - this.begin)} ms`);
    if (this.finish === 'length') parts.push('ended by max tokens');
    return parts.join(', ');
  }
}

async function stream(prompt, answer, signal) {
  const canChat = job.can_chat;
  const figures = new Figures();
  const response = await request(canChat ? '/v1/chat/completions' : '/v1/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(requestBody(prompt, canChat)),
    signal,
  });
  const flow = new TextFlow(answer.text);
  let ended = false;
  try {
    for await (const data of events(response)) {
      ended = data === '[DONE]';
      if (ended) break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new RequestError(chunk.error.message, 0);
      figures.take(chunk);
      const choice = chunk.choices[0];
      flow.add((canChat ? choice?.delta?.content : choice?.text) ?? '');
    }
  } finally {
    flow.show();
  }
  if (!ended) throw new RequestError('The stream broke off.', 0);
  setText(answer.figures, figures.text());
}

function showFailure(answer, error) {
  answer.figures.classList.add('error');
  if (error.name === 'AbortError') {
    setText(answer.figures, 'stopped');
  } else {
    setText(answer.figures, error instanceof RequestError ? error.message : 'The connection was lost.');
  }
  scrollToEnd(false);
}

async function send() {
  const prompt = byId('prompt').value;
  if (running || !job || !prompt.trim()) return;
  const controller = new AbortController();
  setRunning(controller);
  setText(byId('chat-state'), 'An answer comes.');
  byId('prompt').value = '';
  const own = addTurn(job.can_chat ? 'You' : 'Text', prompt, true);
  const answer = addTurn(job.model, '', false);
  messages.push({ role: 'user', content: prompt });
  try {
    await stream(prompt, answer, controller.signal);
    setText(byId('chat-state'), `The answer is complete: ${answer.figures.textContent}.`);
  } catch (error) {
    showFailure(answer, error);
    setText(byId('chat-state'), answer.figures.textContent);
    if (!answer.text.textContent) byId('prompt').value ||= prompt;  // to try again
  }
  // A question without an answer is not part of what the model sees next.
  if (answer.text.textContent) messages.push({ role: 'assistant', content: answer.text.textContent });
  else messages.pop();
  setRunning(null);
}

statusListeners.push((status) => {
  if (status.can_chat === undefined) return;
  byId('max-tokens').max = status.max_model_len;
  setText(byId('chat-title'), status.can_chat ? 'Chat' : 'Complete a text');
  setText(byId('prompt-label'), status.can_chat ? 'Message' : 'Text to go on from');
  setText(byId('chat-note'), status.can_chat ? 'The model sees the whole conversation.'
    : 'This model has no chat template: it goes on from the text, and remembers nothing of it.');
});

byId('chat-form').addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
byId('stop').addEventListener('click', () => running?.abort());
byId('clear').addEventListener('click', () => {
  running?.abort();
  messages.length = 0;
  byId('log').replaceChildren();
  setText(byId('chat-state'), '');
});
byId('prompt').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId('chat-form').requestSubmit();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') running?.abort();
});
setRunning(null);
