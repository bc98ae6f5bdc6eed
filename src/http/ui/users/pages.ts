/** The pages of users, for administrators. */
import { userPages } from './user.tsx';
import { userListPages } from './users.tsx';

export const peoplePages = [userListPages, userPages];
