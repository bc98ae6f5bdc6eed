/** Markdown: hostile texts render to harmless HTML of a bounded size, and plain ones to what they mean. */
import { describe, expect, test } from 'vitest';
import { asText, rendered } from '../src/markdown.ts';

const htmlOf = (source: string) => rendered(source, 'overview').html;

test('headings, lists, tables, code, emphasis and links are rendered', () => {
  expect(htmlOf('# One\n\n- *a* and **b** and ~~c~~\n\n`d`')).toBe(
    '<h3>One</h3>\n<ul>\n<li><em>a</em> and <strong>b</strong> and <s>c</s></li>\n</ul>\n<p><code>d</code></p>\n',
  );
  expect(htmlOf('###### Six')).toBe('<h6>Six</h6>\n');
  expect(htmlOf('|a|b|\n|:-|-:|\n|1|2|')).toContain('<th class="left">a</th>\n<th class="right">b</th>');
  expect(htmlOf('[a](https://example.com/x "t")')).toBe(
    '<p><a href="https://example.com/x" title="t" rel="nofollow noopener ugc">a</a></p>\n',
  );
  expect(htmlOf('<mailto:a@example.com>')).toContain('href="mailto:a@example.com" rel="nofollow noopener ugc"');
});

test('an image becomes a link, and its alternative text within a link', () => {
  const link = '<a href="https://example.com/i.png" rel="nofollow noopener ugc">logo</a>';
  expect(htmlOf('![logo](https://example.com/i.png)')).toBe(`<p>${link}</p>\n`);
  expect(htmlOf('[![b](https://x.example/i.png)](https://y.example)')).toBe(
    '<p><a href="https://y.example" rel="nofollow noopener ugc">b</a></p>\n',
  );
  expect(htmlOf('![](https://example.com/i.png)')).toContain('>https://example.com/i.png</a>');
});

/** Vectors of the OWASP cheat sheet on XSS filter evasion and of advisories on renderers of Markdown, and some of our own. */
const HOSTILE = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg/onload=alert(1)>',
  '<a href="javascript:alert(1)">x</a>',
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](&#106;avascript:alert(1))',
  '[x](&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A;alert(1))',
  '[x](java\tscript:alert(1))',
  '[x](<java\nscript:alert(1)>)',
  '[x](\u0001javascript:alert(1))',
  '[x]( javascript:alert(1))',
  '[x](vbscript:msgbox(1))',
  '[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)',
  '![x](data:image/svg+xml;base64,PHN2Zz4=)',
  '![x](javascript:alert(1))',
  '<javascript:alert(1)>',
  '<data:text/html,x>',
  '[x][y]\n\n[y]: javascript:alert(1)',
  '[x](//evil.example)',
  '[x](/sign-out)',
  '[x](#main)',
  '[x](file:///etc/passwd)',
  '[x](https:javascript:alert(1))',
  '[x](https://e.example/"onmouseover="alert(1))',
  '[x](https://e.example "t"onmouseover="alert(1)")',
  '![a"onerror="alert(1)](https://e.example/x)',
  '![x](https://e.example/x"onerror="alert(1))',
  '```"><script>alert(1)</script>\ncode\n```',
  '``` onmouseover=alert(1)\ncode\n```',
  '|a|\n|-|\n|<img src=x onerror=alert(1)>|',
  '`<script>`',
  '<!--<img src="--><img src=x onerror=alert(1)//">',
  '<![CDATA[<script>alert(1)</script>]]>',
  '<style>*{display:none}</style>',
  '<form action="/sign-out" method="post"><button>x',
  '[a](https://e.example/?q=\u202egnp.exe)',
  '\u202e\u2066reversed',
  '\u0000<\u0000script>',
  '<a@b"onclick=alert(1)>',
];

/** The elements and attributes that rendered HTML may have. */
const ELEMENTS = /^(?:p|h[3-6]|ul|ol|li|blockquote|pre|code|em|strong|s|a|br|hr|table|thead|tbody|tr|th|td)$/;
const ATTRIBUTES = /^(?:href|rel|title|class|start|tabindex)$/;

async function partsOf(html: string): Promise<string[]> {
  const found: string[] = [];
  const parser = new HTMLRewriter().on('*', {
    element(element) {
      found.push(ELEMENTS.test(element.tagName) ? '' : `<${element.tagName}>`);
      for (const [name = '', value = ''] of element.attributes) {
        const isHarmless = ATTRIBUTES.test(name) && (name !== 'href' || /^(?:https?:\/\/|mailto:)/i.test(value));
        found.push(isHarmless ? '' : `${name}="${value}"`);
      }
    },
    comments: () => void found.push('a comment'),
  });
  await parser.transform(new Response(html)).text();
  return found.filter(Boolean);
}

test('no hostile text makes an element, an attribute or an address of its own', async () => {
  for (const text of HOSTILE) {
    const html = htmlOf(text);
    expect(await partsOf(html), text).toEqual([]);
    expect(html, text).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
  }
  expect(await partsOf(asText(HOSTILE.join('\n')))).toEqual([]);
});

const MAX = 100_000;
const fill = (text: string, length = MAX) => text.repeat(Math.ceil(length / text.length)).slice(0, length);

describe('a text of 100,000 characters', () => {
  test.each([
    ['open brackets', fill('[')],
    ['open images', fill('![')],
    ['open links', fill('[a](<b')],
    ['nested links', fill('[', MAX / 2) + fill('](b)', MAX / 2)],
    ['open emphasis', fill('*a_')],
    ['emphasis of all lengths', fill('a**b' + 'c* ~~')],
    ['quotations', fill('>')],
    ['lists of lists', fill('* - + ')],
    ['backticks', Array.from({ length: 440 }, (_, n) => '`'.repeat(n)).join(' ')],
    ['definitions', fill('[a]: x\n')],
    ['tags that do not end', fill('<a ')],
    ['entities', fill('&#x')],
  ])('of %s renders to at most six times its size', { tags: 'slow' }, (_, text) => {
    expect(htmlOf(text).length).toBeLessThan(6 * MAX);
  });

  test('that renders to more than 256 KB is refused, with the field', () => {
    const table = `|${fill('a|', 1000)}\n|${fill('-|', 1000)}\n${fill('a\n', 4000)}`;
    expect(() => rendered(table, 'overview')).toThrow(/^overview: the text renders to \d+ bytes of HTML/);
  });
});
