import { pc } from "../colours.ts";
import { openContext } from "../context.ts";
import { say, sayJson } from "../output.ts";
import { takeDown } from "../sample/down.ts";

/** Options of `down`, as the command line gives them. */
export interface DownFlags {
  readonly all?: boolean;
  readonly netns?: string;
  readonly bpffs?: string;
  readonly json?: boolean;
}

/** Takes off what `up` put on. */
export async function down(interfaces: readonly string[], flags: DownFlags): Promise<void> {
  using context = openContext(flags);
  const downs = await takeDown(context, {
    interfaces: flags.all === true ? undefined : [...new Set(interfaces)],
    bpffs: flags.bpffs,
  });
  if (flags.json === true) {
    sayJson({ down: downs });
    return;
  }
  if (downs.length === 0) say("nothing of ours is here");
  for (const { interface: name, removed } of downs) {
    if (removed.length === 0) say(`${pc.bold(name)}: nothing of ours was there`);
    else say(`${pc.bold(name)}: ${pc.green("down")}, removed`, ...removed.map((line) => `  ${line}`));
  }
}
