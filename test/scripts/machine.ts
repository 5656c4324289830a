/** A pretended machine for shell scripts: a scratch directory as home, repository and PATH, removed after the test. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { onTestFinished } from "vitest";

/** See {@link createMachine}. */
export interface Machine {
  /** The repository, empty at first. */
  readonly repo: string;
  /** The environment for its processes: a PATH of the given commands, and its own temporary directory. */
  readonly env: Readonly<Record<string, string>>;
  /** Names in its temporary directory. */
  readonly temporaryFiles: () => readonly string[];
  /** Runs a command in the repository; `asNobody` drops root. Output and exit code come back, nothing is thrown. */
  readonly run: (
    command: readonly string[],
    options?: { readonly asNobody?: boolean },
  ) => { readonly stdout: string; readonly stderr: string; readonly status: number | null };
}

/**
 * Makes a machine whose PATH has only the named real commands and the given shell scripts (`name -> body`).
 */
export function createMachine(real: readonly string[], scripts: Readonly<Record<string, string>>): Machine {
  const root = mkdtempSync(join(tmpdir(), "tsbpf-machine-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const [repo, bin, temporary] = [join(root, "repo"), join(root, "bin"), join(root, "tmp")];
  for (const directory of [repo, bin, temporary]) mkdirSync(directory);
  chmodSync(root, 0o755);
  chmodSync(temporary, 0o1777);
  for (const name of real) symlinkSync(find(name), join(bin, name));
  for (const [name, body] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  }
  const env = { PATH: bin, TMPDIR: temporary, HOME: root };
  return {
    repo,
    env,
    temporaryFiles: () => readdirSync(temporary),
    run: ([command = "", ...args], options = {}) => {
      const nobody = options.asNobody === true && process.getuid?.() === 0;
      if (nobody) execFileSync("chmod", ["-R", "a+rX", root]); // whatever the umask
      const { stdout, stderr, status, error } = spawnSync(join(bin, command), args, {
        cwd: repo,
        env,
        encoding: "utf8",
        timeout: 30_000,
        ...(nobody ? { uid: 65534, gid: 65534 } : {}),
      });
      if (error !== undefined) throw error;
      return { stdout, stderr, status };
    },
  };
}

function find(name: string): string {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    try {
      if (readdirSync(directory).includes(name)) return join(directory, name);
    } catch {
      // A PATH may name directories that do not exist.
    }
  }
  throw new Error(`no ${name} in PATH`);
}
