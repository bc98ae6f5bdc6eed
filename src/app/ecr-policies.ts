/** Policies of repositories in the notation of AWS. They are the same policies that the other operations read and save. */
import { type Authority, onRepository } from '../auth/authority.ts';
import { applies } from '../auth/conditions.ts';
import { allows } from '../auth/policy.ts';
import type { Statement } from '../auth/statement.ts';
import { statementsOfDocument, statementsOfText, textOfStatements } from '../contract/aws-policy.ts';
import type { SentPolicy } from '../contract/policies.ts';
import type { SentStatement } from '../contract/statements.ts';
import type { RepositoryName } from '../oci/name.ts';
import { invalidInput } from '../vocabulary/refusal.ts';
import { requireRight } from './access.ts';
import type { Call } from './call.ts';
import { registryNumber } from './ecr.ts';
import { getPolicy, savePolicy } from './policies.ts';
import { storedStatement } from './statements.ts';

interface EcrPolicyCall extends Call {
  /** The registry's number of 12 digits. */
  registryId: string;
}

/**
 * Returns the text of the policy of a repository: as it was sent, or written from its statements if it was saved in another
 * way.
 * @returns `null` if there is no statement
 * @throws repository-unknown
 */
export async function getPolicyText(call: EcrPolicyCall, repository: RepositoryName): Promise<string | null> {
  const { statements, text } = await getPolicy(call, `repository:${repository}`);
  if (text !== null) return text;
  return statements.length === 0 ? null : textOfStatements(statements, call.registryId);
}

/**
 * Saves a policy that is sent as a text, and keeps the text.
 * @param force true: saves the policy although the caller may not change it afterwards
 * @throws request-invalid, repository-unknown
 */
export async function setPolicyText(
  call: EcrPolicyCall,
  repository: RepositoryName,
  { text, force }: { text: string; force: boolean },
): Promise<void> {
  requireRight(call, 'admin', repository);
  const subject = `repository:${repository}`;
  const statements = statementsOfText(text, { subject, registryId: call.registryId }) as SentStatement[];
  if (!force && !wouldAdminister(call.authority, repository, statements.map(storedStatement)))
    throw invalidInput({ at: '', message: 'you could not change this policy afterwards: send force to save it anyway' });
  await savePolicy(call, subject, statements, null, text);
}

/** The maximum number of bytes of a policy in the notation of AWS. */
const TEXT_MAX_BYTES = 10_240;

/**
 * Returns the statements of a policy in either notation. A policy in the notation of AWS also has a text, which is shown to
 * clients of the ECR API.
 * @throws request-invalid
 */
export async function statementsIn(
  { env }: Call,
  subject: string,
  sent: SentPolicy,
): Promise<{ statements: readonly SentStatement[]; text: string | null }> {
  if (!('Statement' in sent)) return { statements: sent.statements as SentStatement[], text: null };
  const text = JSON.stringify(sent);
  if (new TextEncoder().encode(text).byteLength > TEXT_MAX_BYTES)
    throw invalidInput({ at: '', message: `the policy is longer than ${TEXT_MAX_BYTES} bytes` });
  const place = { subject, registryId: await registryNumber(env) };
  return { statements: statementsOfDocument(sent, place) as SentStatement[], text };
}

/** Deletes all statements of a policy. @returns its text; `null` if there was no statement. @throws repository-unknown */
export async function deletePolicyText(call: EcrPolicyCall, repository: RepositoryName): Promise<string | null> {
  requireRight(call, 'admin', repository);
  const subject = `repository:${repository}`;
  const { statements, text, version } = await getPolicy(call, subject);
  if (statements.length === 0 && text === null) return null;
  await savePolicy(call, subject, [], version);
  return text ?? textOfStatements(statements, call.registryId);
}

/** True if the caller may administer a repository when its policy has these statements. */
function wouldAdminister(authority: Authority, repository: string, statements: readonly Statement[]): boolean {
  const own = statements.filter((one) => applies(one, authority.circumstances ?? null, authority.subject));
  const others = authority.statements.filter(({ from }) => from !== `repository:${repository}`);
  return allows({ ...authority, statements: [...others, ...onRepository(repository, own)] }, 'admin', repository);
}
