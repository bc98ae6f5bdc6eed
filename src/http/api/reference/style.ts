/** The style of the reference page. */
export const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d8dee4, #333a44); --soft: light-dark(#f4f6f8, #1a1f26);
  --dim: light-dark(#59636e, #9aa5b1); --link: light-dark(#0757b8, #7ab7ff); --warn: light-dark(#8a4b00, #f0b060); }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 84rem; padding: 0 1rem 6rem; font: 16px/1.5 system-ui, sans-serif;
  background: light-dark(#fff, #11151a); color: light-dark(#1b1f24, #e6eaee); }
h1 { font-size: 1.9rem; margin: 2rem 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: .8rem; margin: 1.5rem 0 .25rem; color: var(--dim); text-transform: uppercase; letter-spacing: .05em; }
p, ul { margin: .5rem 0; max-width: 46rem; } a { color: var(--link); }
code, pre { font: 13.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; margin: .25rem 0;
  overflow-x: auto; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 1rem 0 0; margin: 0; list-style: none; max-width: none; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
header dl { max-width: 46rem; }
header dt { font-weight: 600; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; }
summary { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem .75rem; padding: .5rem .75rem; cursor: pointer;
  border-radius: 6px; }
summary:hover, details[open] > summary { background: var(--soft); }
summary code { overflow-wrap: anywhere; } .what { color: var(--dim); margin-left: auto; }
.method { font: 600 12px/1 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; width: 3.8rem; }
.get { color: light-dark(#0a6b2d, #6fd08c); }
.post { color: var(--link); }
.put { color: var(--warn); }
.patch { color: light-dark(#6f42c1, #c3a6ff); }
.delete { color: light-dark(#b42318, #ff8f85); }
.more { display: grid; gap: 0 2rem; padding: .25rem 1rem 1.25rem; }
.more > div { min-width: 0; }
.text > p:first-child, .example h3 { margin-top: .75rem; }
dl { margin: .25rem 0; }
dt { margin-top: .6rem; overflow-wrap: anywhere; }
dd { margin: 0; } dd > code, p > code, li > code { overflow-wrap: anywhere; }
dd dl { border-left: 2px solid var(--line); margin: .4rem 0 .4rem .2rem; padding-left: .8rem; }
dt > code { font-weight: 600; }
.type, .optional { color: var(--dim); font-size: .85rem; }
.required { color: var(--warn); font-size: .85rem; }
.status, .or { font-weight: 600; margin: .75rem 0 0; font-size: .9rem; }
@media (min-width: 62rem) {
  .more { grid-template: "text example" auto "fields example" 1fr / minmax(0, 1fr) minmax(0, 1fr); }
  .text { grid-area: text; } .example { grid-area: example; } .fields { grid-area: fields; }
  .example > div { position: sticky; top: .5rem; max-height: calc(100vh - 1rem); overflow-y: auto; }
}
@media (min-width: 80rem) {
  body { display: grid; grid-template-columns: 9rem minmax(0, 1fr); gap: 0 2.5rem; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; padding-top: 1.5rem; }
  nav ul { display: block; } nav li { margin: .3rem 0; }
}
@media (max-width: 40rem) { .what { margin-left: 0; width: 100%; } .more { padding: .25rem .75rem 1rem; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } }
`;
