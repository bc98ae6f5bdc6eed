/**
 * Repository names (distribution-spec, "Pulling manifests"). The branded type is the proof that a name was parsed,
 * so that authorisation and lookup see one and the same string.
 */
import { Refusal } from '../vocabulary/refusal.ts';

export type RepositoryName = string & { readonly __brand: 'RepositoryName' };

/** The specification advises at most 255 characters, host name included; clients enforce that, we bound the name. */
export const NAME_MAX_LENGTH = 255;

/** One path component; the separators are exclusive, so that the expression runs in linear time. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= NAME_MAX_LENGTH && text.split('/').every((component) => COMPONENT.test(component));
}

/** @throws repository-name-invalid */
export function parseRepositoryName(text: string): RepositoryName {
  if (isRepositoryName(text)) return text;
  throw new Refusal('repository-name-invalid', {
    message: `a repository name is up to ${NAME_MAX_LENGTH} characters: lower-case letters and digits, separated by . _ __ - or /`,
  });
}
