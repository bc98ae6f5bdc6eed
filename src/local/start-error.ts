/** A mistake of whoever starts the registry: shown as it is, without a stack. */
export class StartError extends Error {}
