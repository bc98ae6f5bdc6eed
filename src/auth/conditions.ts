/** Decides whether the conditions of a statement hold for a request. Pure. */
import { addressBits } from '../outbound/address.ts';
import { CONDITION_OPERATORS, type Condition, type ConditionKey, type ConditionOperator } from '../vocabulary/conditions.ts';
import { nameOf } from '../vocabulary/names.ts';

/** The facts about a request that conditions can name. */
export interface Circumstances {
  /** Returns the address of the client; `null` if it is not known. */
  address: () => string | null;
  /** Milliseconds since the epoch. */
  now: number;
}

interface Conditional {
  effect: 'allow' | 'deny';
  conditions?: readonly Condition[];
}

/**
 * True if the conditions of a statement hold.
 * @param circumstances `null` for a question that belongs to no request of this subject. A statement with conditions then
 *   allows nothing, and denies everything that it can deny
 * @param subject the account of the caller; empty for an anonymous caller
 */
export function applies({ effect, conditions }: Conditional, circumstances: Circumstances | null, subject: string): boolean {
  if (!conditions || conditions.length === 0) return true;
  if (circumstances === null) return effect === 'deny';
  return conditions.every((condition) => holds(condition, valueIn(condition.key, circumstances, subject)));
}

/** The value of a key in a request; `null` if the request has none. */
function valueIn(key: ConditionKey, { address, now }: Circumstances, subject: string): string | null {
  if (key === 'aws:SourceIp') return address();
  if (key === 'aws:CurrentTime') return new Date(now).toISOString();
  return subject.startsWith('user:') ? nameOf(subject) : null;
}

/** A key without a value fits nothing, so a negated operator holds (AWS, "How condition operators work with missing keys"). */
function holds({ operator, values }: Condition, given: string | null): boolean {
  const fits = given !== null && values.some((value) => comparisonOf(operator)(given, value));
  return operator.includes('Not') ? !fits : fits;
}

type Comparison = (given: string, value: string) => boolean;

/** The comparison of an operator without its negation. */
function comparisonOf(operator: ConditionOperator): Comparison {
  switch (operator) {
    case 'IpAddress':
    case 'NotIpAddress':
      return isWithin;
    case 'StringLike':
    case 'StringNotLike':
      return (given, value) => globMatches(value, given);
    case 'StringEqualsIgnoreCase':
    case 'StringNotEqualsIgnoreCase':
      return (given, value) => given.toLowerCase() === value.toLowerCase();
    case 'StringEquals':
    case 'StringNotEquals':
      return (given, value) => given === value;
    default:
      return (given, value) => compareTimes(operator, Date.parse(given), timeOf(value) ?? Number.NaN);
  }
}

function compareTimes(operator: string, given: number, value: number): boolean {
  if (operator === 'DateLessThan') return given < value;
  if (operator === 'DateLessThanEquals') return given <= value;
  if (operator === 'DateGreaterThan') return given > value;
  if (operator === 'DateGreaterThanEquals') return given >= value;
  return given === value;
}

/** Milliseconds since the epoch; `null` if the text is neither a time in ISO 8601 nor a number of seconds. */
function timeOf(text: string): number | null {
  if (/^\d{1,12}$/.test(text)) return Number(text) * 1000;
  const isTime = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const time = isTime ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? null : time;
}

/** A range of addresses: the bits that they begin with, of the 32 or 128 bits of an address. */
interface AddressRange {
  prefix: string;
  width: number;
}

/** Parses an address or a range in CIDR notation; `null` if the text is neither. */
function rangeOf(text: string): AddressRange | null {
  const [address = '', length, ...more] = text.split('/');
  const bits = addressBits(address);
  if (bits === null || more.length > 0) return null;
  const { length: width } = bits;
  if (length === undefined) return { prefix: bits, width };
  return /^\d{1,3}$/.test(length) && Number(length) <= width ? { prefix: bits.slice(0, Number(length)), width } : null;
}

/** Returns true if the address is in the range. An IPv4 address is in no range of IPv6. */
function isWithin(given: string, text: string): boolean {
  const [bits, range] = [addressBits(given), rangeOf(text)];
  return bits !== null && range !== null && bits.length === range.width && bits.startsWith(range.prefix);
}

/** True if the text matches the pattern. `*` stands for any characters, and `?` for one. */
export function globMatches(pattern: string, text: string): boolean {
  let [at, from, star, mark] = [0, 0, -1, 0];
  while (from < text.length) {
    if (at < pattern.length && (pattern[at] === '?' || (pattern[at] !== '*' && pattern[at] === text[from]))) {
      at++;
      from++;
    } else if (pattern[at] === '*') {
      star = at++;
      mark = from;
    } else if (star >= 0) {
      at = star + 1;
      from = ++mark;
    } else return false;
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}

/** Says what is wrong with a condition; `null` if nothing is. */
export function conditionError({ operator, key, values }: Condition): string | null {
  const operators: readonly string[] = CONDITION_OPERATORS[key];
  if (!operators.includes(operator)) return `${key} goes with ${operators.join(', ')}, not with ${operator}`;
  if (key === 'aws:SourceIp') {
    const wrong = values.find((value) => rangeOf(value) === null);
    return wrong === undefined ? null : `"${wrong}" is neither an IP address nor a range such as 203.0.113.0/24`;
  }
  if (key !== 'aws:CurrentTime') return null;
  const wrong = values.find((value) => timeOf(value) === null);
  return wrong === undefined ? null : `"${wrong}" is not a time such as 2030-01-31T00:00:00Z`;
}
