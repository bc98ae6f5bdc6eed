/**
 * The conditions of policy statements: those of AWS that this registry can decide exactly (AWS IAM User Guide, "IAM JSON policy
 * elements: Condition operators" and "AWS global condition context keys").
 */

/** The operators for each key. */
export const CONDITION_OPERATORS = {
  /** The address of the client. Values are addresses or ranges in CIDR notation. */
  'aws:SourceIp': ['IpAddress', 'NotIpAddress'],
  /** The time of the request. Values are times in ISO 8601, or seconds since the epoch. */
  'aws:CurrentTime': [
    'DateEquals',
    'DateNotEquals',
    'DateLessThan',
    'DateLessThanEquals',
    'DateGreaterThan',
    'DateGreaterThanEquals',
  ],
  /** The name of the user. Robots, CI jobs and anonymous callers have none. */
  'aws:username': [
    'StringEquals',
    'StringNotEquals',
    'StringEqualsIgnoreCase',
    'StringNotEqualsIgnoreCase',
    'StringLike',
    'StringNotLike',
  ],
} as const;

export type ConditionKey = keyof typeof CONDITION_OPERATORS;
export type ConditionOperator = (typeof CONDITION_OPERATORS)[ConditionKey][number];

export const CONDITION_KEYS = Object.keys(CONDITION_OPERATORS) as [ConditionKey, ...ConditionKey[]];

/** A condition of a statement. It holds if one of the values fits; with a negated operator, if none does. */
export interface Condition {
  operator: ConditionOperator;
  key: ConditionKey;
  values: readonly string[];
}

/** The maximum number of conditions of a statement, and the maximum number of characters of a value. */
export const CONDITIONS_MAX = 10;
export const CONDITION_VALUE_MAX = 128;
