import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { TsbpfError } from "../base/error.ts";
import { pc } from "./colours.ts";
import { EXIT } from "./exit.ts";
import { INVOCATION } from "./invocation.ts";

/**
 * Runs the command line.
 *
 * @param args - arguments after the program's name.
 * @returns the exit code.
 */
export async function runCli(args: readonly string[]): Promise<number> {
  try {
    const program = await createProgram(args[0]);
    await program.parseAsync([...args], { from: "user" });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    return report(error);
  }
}

/** The commands, in the order of the help. Each is loaded when it is wanted: together they make up half of the start. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  up: async () => (await import("./commands/up.ts")).upCommand(),
  down: async () => (await import("./commands/down.ts")).downCommand(),
  status: async () => (await import("./commands/status.ts")).statusCommand(),
  logs: async () => (await import("./commands/logs.ts")).logsCommand(),
  dump: async () => (await import("./commands/dump.ts")).dumpCommand(),
  doctor: async () => (await import("./commands/doctor.ts")).doctorCommand(),
  features: async () => (await import("./commands/features.ts")).featuresCommand(),
  demo: async () => (await import("./commands/demo.ts")).demoCommand(),
};

/** @param wanted - the first argument: where it names a command, the others are left out. */
async function createProgram(wanted: string | undefined): Promise<Command> {
  const program = new Command("tsbpf")
    .description("Runs XDP, TC ingress and TC egress of each packet on one core, and shows it.")
    .version(version())
    .addHelpText("after", EXAMPLES);
  const one = Object.entries(COMMANDS).filter(([name]) => name === wanted);
  for (const [, load] of one.length > 0 ? one : Object.entries(COMMANDS)) {
    program.addCommand(strict(await load()));
  }
  return strict(program);
}

const EXAMPLES = `
Examples:
  $ ${INVOCATION} demo                  see it work, without touching a real interface
  $ ${INVOCATION} doctor eth0           find out what would be in the way
  $ ${INVOCATION} up eth0               put it on eth0; it stays when the command ends
  $ ${INVOCATION} logs                  watch the packets
  $ ${INVOCATION} down eth0             take it off again`;

/** Throws instead of exiting, accepts neither unknown options nor arguments too many, and says what to do about them. */
function strict(command: Command): Command {
  return command
    .exitOverride()
    .allowExcessArguments(false)
    .allowUnknownOption(false)
    .showHelpAfterError("(--help shows the options)")
    .showSuggestionAfterError();
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Help and version are "errors" with exit code 0; commander has printed the others already.
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  if (error instanceof TsbpfError) {
    process.stderr.write(`${pc.red("error:")} ${error.message}\n`);
    return EXIT.failed;
  }
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  return EXIT.failed;
}

function version(): string {
  const path = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}
