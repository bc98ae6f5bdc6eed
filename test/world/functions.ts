/**
 * Measures the lengths of all functions in a TypeScript file: declarations, methods, and arrow functions with a block, at any
 * depth. For formatted code, a scanner suffices that knows strings, comments, regular expressions and brackets.
 */
interface Token {
  text: string;
  line: number;
}

const PATTERN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|[A-Za-z_$][\w$]*|\d[\w.]*|=>|\n|[^\s]/y;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;

/** Words after which a slash begins a regular expression. */
const BEFORE_REGEX = ['return', 'typeof', 'case', 'in', 'of', 'await', 'throw', 'new'];
/** Words that are followed by a bracket and a block but are not the name of a method. */
const CONTROL = ['if', 'for', 'while', 'switch', 'catch', 'with', 'function', 'return', 'await', 'async'];
const CLOSING = new Map([
  ['(', ')'],
  ['[', ']'],
  ['{', '}'],
]);

/** Returns the number of lines of each function, in the order in which the functions begin. */
export function functionLengths(source: string): number[] {
  const tokens = tokensOf(source);
  return tokens.flatMap((token, at) => {
    const body = bodyOf(tokens, at);
    const last = body === null ? undefined : tokens[endOf(tokens, body)];
    return last ? [last.line - token.line + 1] : [];
  });
}

/**
 * Returns the index of the token that opens the block of the function that begins at this token, or `null` if none begins
 * there.
 */
function bodyOf(tokens: Token[], at: number): number | null {
  const text = tokens[at]?.text ?? '';
  if (text === '=>') return tokens[at + 1]?.text === '{' ? at + 1 : null;
  if (text === 'function') {
    const bracket = tokens.findIndex((token, n) => n > at && token.text === '(');
    return blockAfter(tokens, bracket);
  }
  const isMethod = /^[\w$]+$/.test(text) && !CONTROL.includes(text) && tokens[at + 1]?.text === '(';
  return isMethod && startsMember(tokens, at) ? blockAfter(tokens, at + 1) : null;
}

/** Returns true if the token can be the name of a method: it is the first word of its line, or follows a modifier. */
function startsMember(tokens: Token[], at: number): boolean {
  const before = tokens[at - 1];
  return !before || before.line < (tokens[at]?.line ?? 0) || ['async', 'get', 'set', 'static'].includes(before.text);
}

/**
 * Returns the index of the token that opens the block after the parameters, which begin at this bracket, and after a return
 * type.
 */
function blockAfter(tokens: Token[], bracket: number): number | null {
  let at = endOf(tokens, bracket) + 1;
  if (tokens[at]?.text !== ':') return tokens[at]?.text === '{' ? at : null;
  for (at++; at < tokens.length; at++) {
    const [before, text = ''] = [tokens[at - 1]?.text ?? '', tokens[at]?.text];
    if (text === '{' && !/^(?:[:|&<,[(]|is|=>)$/.test(before)) return at;
    if (CLOSING.has(text)) at = endOf(tokens, at);
    else if (!/^(?:[\w$.<>|&,?]+|=>|['"].*)$/.test(text)) return null;
  }
  return null;
}

/** Returns the index of the bracket that closes the bracket at this index. */
function endOf(tokens: Token[], at: number): number {
  const open: string[] = [];
  for (let n = at; n < tokens.length; n++) {
    const { text = '' } = tokens[n] ?? {};
    const closing = CLOSING.get(text);
    if (closing) open.push(closing);
    else if (text === open.at(-1)) open.pop();
    if (open.length === 0) return n;
  }
  return tokens.length - 1;
}

/** Returns the tokens of a file without comments. Of a template string, only the code in `${}` becomes tokens. */
function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  /** For each open `{`, true if it belongs to the `${` of a template string. */
  const braces: boolean[] = [];
  let line = 1;
  let at = 0;
  const skipTemplate = () => {
    for (; at < source.length && source[at] !== '`'; at++) {
      if (source[at] === '\n') line++;
      if (source[at] === '\\') at++;
      else if (source.startsWith('${', at)) {
        braces.push(true);
        at += 2;
        return;
      }
    }
    at++;
  };
  while (at < source.length) {
    const before = tokens.at(-1)?.text ?? '';
    const pattern = source[at] === '/' && !/^\/[/*]/.test(source.slice(at, at + 2)) && startsRegex(before) ? REGEX : PATTERN;
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0] ?? source[at] ?? '';
    at += text.length;
    if (text === '{') braces.push(false);
    const endsPart = text === '}' && braces.pop() === true;
    if (text === '`' || endsPart) skipTemplate();
    else if (text.trim() !== '' && !/^\/[/*]/.test(text)) tokens.push({ text, line });
    line += text.split('\n').length - 1;
  }
  return tokens;
}

function startsRegex(before: string): boolean {
  return before === '' || BEFORE_REGEX.includes(before) || /^(?:[(,=:[!&|?{};+*%<>~^-]|=>)$/.test(before);
}
