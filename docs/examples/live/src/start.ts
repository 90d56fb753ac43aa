import * as api from "./api.js";
import { make, say } from "./dom.js";

/** Draws the page without a session: the list of projects, and a form for a new project. */
export async function start(): Promise<void> {
  const enter = (session: string): void => void (location.search = `?session=${session}`);
  const failed = (error: unknown): void => say(String(error));
  const [projects, templates] = await Promise.all([api.projects(), api.templates()]);

  const list = make("ul", { class: "projects" });
  for (const { project_id, project_name, session_id } of projects) {
    const go = (): void => void (session_id ? Promise.resolve(session_id) : api.open(project_id)).then(enter, failed);
    list.append(make("li", {}, make("button", { type: "button", onclick: go }, project_name ?? project_id)));
  }
  const name = make("input", { name: "name", required: true, placeholder: "Lighthouse", autocomplete: "off" });
  const template = make("select", { name: "template" });
  for (const { id, name: label } of templates) if (label) template.append(make("option", { value: id }, label));
  const form = make(
    "form",
    {
      onsubmit: event => {
        event.preventDefault();
        api.begin(template.value, name.value).then(enter, failed);
      },
    },
    make("label", {}, "Name", name),
    make("label", {}, "Template", template),
    make("button", { class: "primary" }, "Begin"),
  );
  document.body.append(
    make(
      "main",
      { class: "start" },
      make("h1", {}, "Talus Hub live"),
      make("section", {}, make("h2", {}, "Projects"), projects.length ? list : make("p", {}, "There is none yet.")),
      make("section", {}, make("h2", {}, "A new project"), form),
    ),
  );
}
