/** An error that the user who starts the registry can correct. It is shown without a stack. */
export class StartError extends Error {}
