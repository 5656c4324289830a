import { accessSync, constants } from "node:fs";
import type { Finding } from "../finding.ts";

/** Whether a command is installed: in the PATH, or where an ordinary user's PATH does not lead. */
export function isInstalled(command: string): boolean {
  const directories = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];
  return directories.some((directory) => {
    try {
      accessSync(`${directory}/${command}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Judges whether the other findings' advice can be followed as it stands: some of it takes ethtool, which few images have. */
export function checkEthtool(others: readonly Finding[], installed: () => boolean): readonly Finding[] {
  if (!others.some(({ fix }) => fix?.includes("ethtool ")) || installed()) return [];
  return [
    {
      level: "info",
      check: "ethtool",
      what: "ethtool, which advice below takes, is not installed (tsbpf itself does without)",
      fix: "Debian and Ubuntu: apt-get install ethtool",
    },
  ];
}
