/** The pages of organizations. */
import { organizationListPages } from './list.tsx';
import { memberPages } from './members.tsx';
import { robotPages } from './robots.tsx';
import { organizationSettingsPages } from './settings.tsx';
import { teamPages } from './teams.tsx';
import { trustRulePages } from './trust-rule.tsx';
import { trustRuleListPages } from './trust-rules.tsx';

export const organizationPages = [
  organizationListPages,
  memberPages,
  teamPages,
  robotPages,
  trustRuleListPages,
  trustRulePages,
  organizationSettingsPages,
];
