import { live } from "./live.js";
import { start } from "./start.js";

const session = new URLSearchParams(location.search).get("session");
void (session ? live(session) : start());
