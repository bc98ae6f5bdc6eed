/** An error that the user who starts the registry can correct. It is shown without a stack trace. */
export class StartError extends Error {}
