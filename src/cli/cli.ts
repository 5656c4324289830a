import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { TsbpfError } from "../base/error.ts";
import { pc } from "./colours.ts";
import { demoCommand } from "./commands/demo.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { downCommand } from "./commands/down.ts";
import { dumpCommand } from "./commands/dump.ts";
import { featuresCommand } from "./commands/features.ts";
import { logsCommand } from "./commands/logs.ts";
import { statusCommand } from "./commands/status.ts";
import { upCommand } from "./commands/up.ts";
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
    await createProgram().parseAsync([...args], { from: "user" });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    return report(error);
  }
}

/** The commands, in the order of the help. What they do is loaded when one of them is called. */
const COMMANDS = [
  upCommand,
  downCommand,
  statusCommand,
  logsCommand,
  dumpCommand,
  doctorCommand,
  featuresCommand,
  demoCommand,
] as const;

function createProgram(): Command {
  const program = new Command("tsbpf")
    .description("Runs XDP, TC ingress and TC egress of each packet on one core, and shows it.")
    .version(version())
    .addHelpText("after", EXAMPLES);
  for (const create of COMMANDS) program.addCommand(strict(create()));
  return strict(program);
}

const EXAMPLES: string = [
  "\nExamples:",
  ...[
    ["demo", "see it work; touches no real interface"],
    ["doctor eth0", "find out what would be in the way"],
    ["up eth0", "put it on eth0, where it stays"],
    ["logs", "watch the packets"],
    ["down eth0", "take it off again"],
  ].map(([command = "", what = ""]) => `  $ ${INVOCATION} ${command.padEnd(11)}  ${what}`),
].join("\n");

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
