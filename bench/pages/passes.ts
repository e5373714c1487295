/** What the number of rows says of a pass that is none of the model's. */
export const PROTOTYPE_PASS = -1;
export const LAST_PASS = -2;
