/** Roles of messages. A template that writes every role as it is would take a misspelt one in silence. */
import { SternaError } from '../errors';

/** Those that templates on the hub have in common. */
const ROLES = ['system', 'user', 'assistant', 'tool'];

/**
 * Refuses a role that is none of the common ones, unless the template names it in quotes.
 * @throws SternaError `bad-input`
 */
export function checkRoles(messages: readonly { role: string }[], template: string): void {
  for (const [index, { role }] of messages.entries()) {
    if (ROLES.includes(role) || template.includes(`'${role}'`) || template.includes(`"${role}"`)) continue;
    const facts = { got: JSON.stringify(role), expected: ROLES.join(', ') };
    throw new SternaError('bad-input', `role of message ${index}, which the chat template does not name`, facts);
  }
}
