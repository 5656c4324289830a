import picocolors from "picocolors";

const { NO_COLOR, FORCE_COLOR, TERM } = process.env;

/**
 * Colours for a terminal, and none for a pipe or a file (picocolors itself would colour those, too, where `CI` is set).
 * `NO_COLOR` switches them off, `FORCE_COLOR` on.
 */
export const pc: ReturnType<typeof picocolors.createColors> = picocolors.createColors(
  !NO_COLOR && ((Boolean(FORCE_COLOR) && FORCE_COLOR !== "0") || (process.stdout.isTTY && TERM !== "dumb")),
);
