'use strict';
// What the page's parts share: elements, the key, requests, and how numbers are written.

const byId = (id) => document.getElementById(id);

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Writes only what has changed, so that a screen reader does not hear the same again.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const keyName = 'ternion-api-key';
const apiKey = () => sessionStorage.getItem(keyName) ?? '';

// A failure that the server explains, or that of the network; `status` 0: no answer came.
class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// The answer of a request to this server; whatever is not a success is a RequestError.
async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (apiKey()) headers.Authorization = `Bearer ${apiKey()}`;
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', ...options, headers });
  } catch (error) {
    if (error.name !== 'TypeError') throw error;  // aborted, or late
    throw new RequestError('The server does not answer.', 0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new RequestError(body?.error?.message ?? `The server answered ${response.status}.`, response.status);
}

function showBytes(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < units.length) {
    bytes /= 1024;
    ++unit;
  }
  return `${bytes.toFixed(unit > 0 && bytes < 100 ? 1 : 0)} ${units[unit]}`;
}

function showSeconds(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

const showNumber = (value) => value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
