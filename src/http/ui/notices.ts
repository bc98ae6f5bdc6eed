/**
 * The messages that a page can show after a change. The address contains only the name of a message, so nobody can make the
 * page show another text.
 */
export const NOTICES = {
  'signed-out': 'You are signed out.',
  'signed-out-everywhere': 'All logins of your account have ended.',
  created: 'Created.',
  saved: 'Saved.',
  deleted: 'Deleted.',
  'repository-deleted': 'Deleted. The repository is in the trash, from which it can be restored.',
  'content-deleted': 'Deleted. It is in the trash, from which it can be restored.',
  'rolled-back': 'The tag is rolled back.',
  restored: 'Restored.',
  removed: 'Removed.',
  revoked: 'Revoked.',
  invited: 'Invited. They become a member when they accept.',
  added: 'Added.',
  joined: 'You are a member now. You can leave at any time.',
  declined: 'Declined.',
  left: 'You have left the organization.',
  'logged-out': 'All logins of the user have ended.',
  'test-delivered': 'The endpoint answered the test with success.',
  'test-failed': 'The endpoint did not answer the test with success. Check its address and its log, then try again.',
  enabled: 'Enabled.',
  disabled: 'Disabled. Nothing is sent until somebody enables it.',
  replayed: 'The deliveries wait to be sent again.',
  'replayed-some': 'Some hundred deliveries wait to be sent again. There are more: replay again.',
  'restored-partly': 'Restored, but some of its tags stay in the trash: their names are taken.',
  'restored-webhooks': 'Restored. Its webhooks are disabled: enable each one when its receiver is ready.',
  purged: 'Deleted for good.',
  'slice-ran': 'A part of the pass is done. There is more: run it again, or leave it to the schedule.',
  'pass-finished': 'The pass is finished.',
  'rules-ran': 'The rules ran. What they deleted is in the trash.',
  'rules-ran-partly': 'The rules ran, and there is more to delete: run them again, or leave it to the schedule.',
  'nothing-to-replay': 'There is nothing to send again.',
} as const;

export type NoticeName = keyof typeof NOTICES;

/** The messages that report a failure. */
export const BAD_NOTICES: readonly NoticeName[] = ['test-failed'];
