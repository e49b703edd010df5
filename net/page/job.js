// The job: GET /status once a second while the page is seen.

const pollMs = 1000;
const answerLimitMs = 5000;

const charts = {
  tokens: new Chart(byId('chart-tokens'), { title: 'Generated tokens', lines: ['tokens/s'], show: showNumber }),
  requests: new Chart(byId('chart-requests'), { title: 'Requests', lines: ['running', 'waiting'], show: showNumber }),
  kv: new Chart(byId('chart-kv'), { title: 'KV cache in use', lines: ['in use'], top: 100, show: (v) => `${showNumber(v)} %` }),
};

// The last answer of the server that was a status; the chat asks it what the model can do.
let job = null;
let before = null;  // the answer before, of the same server
const statusListeners = [];

function showState(state, text, reason) {
  byId('state').dataset.state = state;
  setText(byId('state'), text);
  setText(byId('reason'), reason);
}

function showFacts(status) {
  const facts = [['Version', status.version], ['Up', showSeconds(status.uptime_seconds)]];
  if (status.max_model_len !== undefined) facts.push(['Context', `${status.max_model_len} tokens`]);
  if (status.ranks !== undefined) {
    facts.push(
      ['Parallel', `tp ${status.tp} × pp ${status.pp}`], ['Device', status.device], ['Wire', status.wire],
      ['Pipeline wire', status.pipeline_wire], ['KV cache', status.kv_cache],
      ['KV tokens', (status.kv.blocks * status.kv.block_tokens).toLocaleString('en')]);
  }
  const list = byId('facts');
  while (list.children.length > facts.length) list.lastChild.remove();
  facts.forEach(([name, value], i) => {
    if (i >= list.children.length) {
      const pair = element('div');
      pair.append(element('dt'), element('dd'));
      list.append(pair);
    }
    const [term, definition] = list.children[i].children;
    setText(term, name);
    setText(definition, String(value));
  });
}

// The cells of a rank's row: label, text, class.
function rankCells(rank) {
  const device = rank.threads ? `${rank.device}, ${rank.threads} thread${rank.threads > 1 ? 's' : ''}` : rank.device;
  const last = rank.first_layer + rank.layers - 1;
  const heard = rank.seconds_since_heard;
  return [
    ['Rank', String(rank.rank), ''], ['Host', rank.host, ''], ['Device', device, ''],
    ['Layers', `${rank.first_layer}–${last}`, ''], ['Weights', showBytes(rank.weight_bytes), 'number'],
    ['KV cache', showBytes(rank.kv_bytes), 'number'], ['Resident', showBytes(rank.resident_bytes), 'number'],
    ['Heard', rank.up ? `${heard.toFixed(1)} s ago` : 'lost', 'number heard'],
  ];
}

function makeRankRow(cells) {
  const row = element('tr');
  row.setAttribute('role', 'row');
  cells.forEach(([label, , className], i) => {
    const cell = element(i === 0 ? 'th' : 'td', className);
    cell.setAttribute('role', i === 0 ? 'rowheader' : 'cell');
    if (i === 0) cell.scope = 'row';
    cell.dataset.label = label;
    row.append(cell);
  });
  return row;
}

function showRanks(ranks) {
  const body = byId('ranks');
  while (body.children.length > ranks.length) body.lastChild.remove();
  ranks.forEach((rank, i) => {
    const cells = rankCells(rank);
    if (i >= body.children.length) body.append(makeRankRow(cells));
    const row = body.children[i];
    row.dataset.up = rank.up;
    cells.forEach(([, text], k) => setText(row.children[k], text));
  });
}

function tokensPerSecond(status) {
  if (before === null) return null;
  const seconds = status.clock_seconds - before.clock_seconds;
  const tokens = status.tokens.generated - before.tokens.generated;
  return seconds > 0 && tokens >= 0 ? tokens / seconds : null;  // another server may have taken the place
}

function showLoad(status) {
  const rate = tokensPerSecond(status);
  const total = status.tokens.generated.toLocaleString('en');
  charts.tokens.add([rate], rate === null ? '–' : showNumber(rate), `tokens/s, ${total} in all`);
  const { running, waiting } = status.requests;
  charts.requests.add([running, waiting], String(running), `running, ${waiting} waiting`);
  const used = status.kv.blocks > 0 ? (100 * status.kv.used_blocks) / status.kv.blocks : 0;
  charts.kv.add([used], `${used.toFixed(1)} %`, `${status.kv.used_blocks} of ${status.kv.blocks.toLocaleString('en')} blocks`);
}

function showStatus(status) {
  document.title = `${status.model} – Ternion`;
  setText(byId('model'), status.model);
  showState(status.ready ? 'ready' : 'bad', status.ready ? 'ready' : 'not ready', status.reason ?? '');
  showFacts(status);
  if (status.ranks !== undefined) {
    showLoad(status);
    showRanks(status.ranks);
  }
  document.body.dataset.stale = 'false';
  before = status.tokens === undefined ? null : status;
  job = status;
  for (const listener of statusListeners) listener(status);
}

function showGap() {
  document.body.dataset.stale = 'true';
  before = null;
  charts.tokens.add([null], '–');
  charts.requests.add([null, null], '–');
  charts.kv.add([null], '–');
}

function askForKey() {
  showState('wait', 'key needed', '');
  if (!byId('key-form').hidden) return;
  setText(byId('key-error'), apiKey() ? 'The server refused that key.' : '');
  sessionStorage.removeItem(keyName);
  byId('key-form').hidden = false;
  byId('key').focus();
}

async function poll() {
  // While the form is open nothing is asked: each answer would be the same 401.
  if (!document.hidden && byId('key-form').hidden) {
    try {
      showStatus(await (await request('/status', { signal: AbortSignal.timeout(answerLimitMs) })).json());
    } catch (error) {
      if (error.status === 401) {
        askForKey();
      } else {
        showGap();
        showState('bad', 'no answer', error instanceof RequestError ? error.message : 'The server answers too late.');
      }
    }
  }
  setTimeout(poll, pollMs);
}

byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(keyName, byId('key').value.trim());
  byId('key').value = '';
  byId('key-form').hidden = true;
  setText(byId('key-error'), '');
  showState('wait', 'connecting', '');
});

poll();
