// Creates a test network, prints its inside name, and then ends in the way the argument says: what remains of the
// network afterwards is what test/kernel/support.test.ts looks at. Top-level `await` for a signal, otherwise.
import { mkdirSync } from "node:fs";
import { createTestNet } from "./netns.ts";
import { removePinsOf } from "./sweep.ts";

const net = await createTestNet({ onDispose: ({ inside }) => void removePinsOf(inside.inode) });
if (process.argv[3] === "pins") mkdirSync(`/sys/fs/bpf/tsbpf/${net.inside.inode}-2`, { recursive: true });
net.spawn("inside", "sleep", ["60"]);
process.stdout.write(`${net.inside.name}\n`);
switch (process.argv[2]) {
  case "exit":
    process.exit(0);
    break;
  case "throw":
    setTimeout(() => {
      throw new Error("uncaught");
    }, 1);
    break;
  default:
    setInterval(() => {}, 1000);
}
