/** Requests over REST: projects, templates, and the node types of a template. */

export interface Property {
  id: string;
  key: string;
  name: string;
  type: string;
  options: { id: string; name: string }[];
}

export interface NodeType {
  id: string;
  key: string;
  name: string;
  allowed_children: string[];
  properties: Property[];
}

export interface Project {
  project_id: string;
  project_name?: string;
  session_id: string | null;
}

export interface Template {
  id: string;
  name?: string;
}

async function call<T>(path: string, body?: object): Promise<T> {
  const asked = body && { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fetch(`/api/v1${path}`, asked);
  const answer = (await response.json()) as T & { error?: { message: string } };
  if (!response.ok) throw new Error(answer.error?.message ?? response.statusText);
  return answer;
}

export const projects = async (): Promise<Project[]> => (await call<{ projects: Project[] }>("/projects")).projects;
export const templates = async (): Promise<Template[]> => (await call<{ templates: Template[] }>("/templates")).templates;
export const begin = async (template_id: string, project_name: string): Promise<string> =>
  (await call<{ session_id: string }>("/projects", { template_id, project_name })).session_id;
export const open = async (project_id: string): Promise<string> =>
  (await call<{ session_id: string }>(`/projects/${project_id}/open`, {})).session_id;

/** Returns the project's name and the node types of its template, by id. Without a template there are no types. */
export async function typesOf(session: string): Promise<{ name: string; types: Map<string, NodeType> }> {
  const info = await call<{ project_name: string | null; template_id: string | null }>(`/sessions/${session}/info`);
  const schema = info.template_id && (await call<{ node_types: NodeType[] }>(`/templates/${info.template_id}/schema`));
  const types = schema ? schema.node_types : [];
  return { name: info.project_name ?? "A session", types: new Map(types.map(type => [type.id, type])) };
}
