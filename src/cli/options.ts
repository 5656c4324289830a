import { InvalidArgumentError, Option } from "commander";

/** `--netns NAME`: the network namespace to work in. */
export function netnsOption(): Option {
  return new Option(
    "--netns <name>",
    "work in this network namespace (a name of `ip netns`, or a path), with the caller's mounts",
  );
}

/** `--json`: print data instead of text. */
export function jsonOption(): Option {
  return new Option("--json", "print JSON instead of text");
}

/** `--bpffs DIR`: where pins go. */
export function bpffsOption(): Option {
  return new Option(
    "--bpffs <dir>",
    "directory on a bpffs for the pins (default: /sys/fs/bpf, mounted where it is not)",
  );
}

/** Parses a whole number. @throws InvalidArgumentError */
export function wholeNumber(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}
