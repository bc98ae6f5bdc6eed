/** The pages of the reader's own account, and signing in and out. */
import { signInPages } from './sign-in.tsx';

export const accountPages = [signInPages];
