/* The console's script. Every page works without it. It adds copying, relative times, filtering while typing, keyboard
   shortcuts, and reloading the page of an empty repository after its first push. */
const $$ = (selector, root = document) => root.querySelectorAll(selector);
const policy = window.trustedTypes?.createPolicy('berth', { createHTML: (html) => html }) ?? { createHTML: (html) => html };

/** Parses a page of this console. */
const parse = (html) => new DOMParser().parseFromString(policy.createHTML(html), 'text/html');

function say(text) {
  const said = document.getElementById('said');
  if (said) said.textContent = text;
}

// Copying
for (const button of $$('[data-copy]')) button.hidden = false;

async function copy(button) {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    button.focus();
  }
  const word = button.querySelector('span');
  if (word) {
    word.textContent = 'Copied';
    setTimeout(() => {
      word.textContent = 'Copy';
    }, 2000);
  }
  say('Copied');
}

// Relative times
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const STEPS = [
  [60, 'second'],
  [60, 'minute'],
  [24, 'hour'],
  [30, 'day'],
];

function ago(time) {
  let value = (time - Date.now()) / 1000;
  for (const [size, unit] of STEPS) {
    if (Math.abs(value) < size) return unit === 'second' ? 'just now' : relative.format(Math.round(value), unit);
    value /= size;
  }
  return null;
}

function showTimes(root) {
  for (const time of $$('time[data-relative]', root)) {
    const text = ago(Date.parse(time.dateTime));
    if (text) time.textContent = text;
  }
}
showTimes(document);
setInterval(() => showTimes(document), 60_000);

// Filtering while typing
let typing;
let newest = 0;

async function filter(form) {
  const url = new URL(form.action, location.href);
  for (const [name, value] of new FormData(form)) if (value) url.searchParams.set(name, value);
  const mine = ++newest;
  const response = await fetch(url, { headers: { accept: 'text/html' } });
  if (!response.ok || mine !== newest) return;
  const results = parse(await response.text()).querySelector('[data-results]');
  const here = document.querySelector('[data-results]');
  if (!results || !here || mine !== newest) return;
  here.replaceWith(results);
  for (const button of $$('[data-copy]', results)) button.hidden = false;
  showTimes(results);
  history.replaceState(null, '', url);
  say(`${$$('tbody tr', results).length} shown`);
}

addEventListener('input', (event) => {
  const form = event.target.closest?.('form[data-filter]');
  if (!form || event.isComposing) return;
  clearTimeout(typing);
  typing = setTimeout(() => filter(form).catch(() => {}), 250);
});

// Choosing all rows
addEventListener('change', ({ target }) => {
  if (!target.matches?.('[data-choose-all]')) return;
  for (const box of $$(`input[name="${target.dataset.chooseAll}"]`)) box.checked = target.checked;
});

// Reloading the page of an empty repository after its first push
const waiting = document.querySelector('[data-poll]');
let looks = 60;
if (waiting) {
  const timer = setInterval(async () => {
    if (document.hidden) return;
    if (--looks < 0) return clearInterval(timer);
    const response = await fetch(location.href, { headers: { accept: 'text/html' } }).catch(() => null);
    if (response?.ok && !parse(await response.text()).querySelector('[data-poll]')) location.reload();
  }, 5000);
}

// Focusing the message of a refused form, and removing secrets when the reader leaves the page
document.querySelector('[data-focus]')?.focus();
addEventListener('pagehide', () => {
  for (const secret of $$('[data-secret]')) secret.textContent = '';
});

addEventListener('click', (event) => {
  const button = event.target.closest?.('[data-copy]');
  if (button) copy(button);
  for (const menu of $$('details.menu[open]')) if (!menu.contains(event.target)) menu.open = false;
  if (event.target.matches?.('dialog')) event.target.close();
});

// Keyboard shortcuts. They work only outside of fields and without a modifier key.
const keysOff = () => document.cookie.includes('berth-keys=off');
const rows = () => [...$$('[data-row]')];
let first = '';

function step(by) {
  const all = rows();
  const at = all.indexOf(document.activeElement);
  all[Math.min(all.length - 1, Math.max(0, at + by))]?.focus();
}

function help() {
  const known = document.getElementById('keys');
  if (known) return known.showModal();
  const dialog = document.createElement('dialog');
  dialog.id = 'keys';
  dialog.setAttribute('aria-labelledby', 'keys-title');
  const title = document.createElement('h2');
  title.id = 'keys-title';
  title.textContent = 'Keys';
  const table = document.createElement('table');
  for (const [key, what] of HELP) {
    const row = table.insertRow();
    const mark = document.createElement('kbd');
    mark.textContent = key;
    row.insertCell().append(mark);
    row.insertCell().textContent = what;
  }
  const close = document.createElement('button');
  close.textContent = 'Close';
  close.addEventListener('click', () => dialog.close());
  dialog.append(title, table, close);
  document.body.append(dialog);
  dialog.showModal();
}

const HELP = [
  ['/', 'search'],
  ['g h', 'home'],
  ['g r', 'repositories'],
  ['j', 'next row'],
  ['k', 'previous row'],
  ['x', 'select the row'],
  ['y', 'copy the first command or digest of the row'],
  ['?', 'this list'],
  ['Esc', 'close'],
];

addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    for (const menu of $$('details.menu[open]')) {
      menu.open = false;
      menu.querySelector('summary')?.focus();
    }
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keysOff()) return;
  if (event.target.closest?.('input, textarea, select, dialog')) return;
  const row = document.activeElement?.closest?.('tr');
  const pair = first + event.key;
  first = event.key === 'g' ? 'g ' : '';
  if (event.key === '/') {
    event.preventDefault();
    (document.querySelector('[data-main-search]') ?? document.getElementById('search'))?.focus();
  } else if (event.key === '?') help();
  else if (event.key === 'j') step(1);
  else if (event.key === 'k') step(-1);
  else if (event.key === 'x') row?.querySelector('input[type=checkbox]')?.click();
  else if (event.key === 'y') row?.querySelector('[data-copy]')?.click();
  else if (pair === 'g r') location.href = '/repositories';
  else if (pair === 'g h') location.href = '/';
});
