/**
 * Repository names (distribution-spec, "Pulling manifests"). The branded type `RepositoryName` proves that a name was checked,
 * so that authorization and lookup use the same text.
 */
import { Refusal } from '../vocabulary/refusal.ts';

export type RepositoryName = string & { readonly __brand: 'RepositoryName' };

/**
 * The maximum number of characters of a repository name. The specification recommends at most 255 characters for the host name
 * and the repository name together. Only clients can check the host name.
 */
export const NAME_MAX_LENGTH = 255;

/** The grammar of one path component. The separators are mutually exclusive, so matching takes linear time. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= NAME_MAX_LENGTH && text.split('/').every((component) => COMPONENT.test(component));
}

/** @throws repository-name-invalid if the text is not a valid name */
export function parseRepositoryName(text: string): RepositoryName {
  if (isRepositoryName(text)) return text;
  throw new Refusal('repository-name-invalid', {
    message:
      `a repository name has up to ${NAME_MAX_LENGTH} characters: lower-case letters and digits, separated by . ` +
      `_ __ - or /`,
  });
}
