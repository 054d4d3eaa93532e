import type { Metadata } from "next";
import { notFound } from "next/navigation";

import { answer, api } from "@core/api";
import { Field, Form, TextArea } from "@core/forms/form";
import { ApiProblem } from "@core/problem";
import { requireSession } from "@core/session/guard";

import { addDocument, renameProject } from "../actions";

export const metadata: Metadata = { title: "A project" };

type Props = { params: Promise<{ id: string }> };

export default async function Project({ params }: Props) {
  await requireSession();
  const { id } = await params;
  const { project, etag } = await readProject(id);
  return (
    <>
      <h1 className="break-words">{project.name}</h1>
      {project.description && <p className="break-words">{project.description}</p>}
      <section className="card">
        <h2>Rename it</h2>
        <Form action={renameProject.bind(null, { id, etag })} submit="Save">
          <Field name="name" label="Name" defaultValue={project.name} required />
        </Form>
      </section>
      <section className="card">
        <h2>Documents</h2>
        <Documents projectId={id} />
        <Form action={addDocument.bind(null, id)} submit="Add">
          <Field name="title" label="Title" required />
          <TextArea name="content" label="Content" />
        </Form>
      </section>
    </>
  );
}

async function readProject(id: string) {
  const client = await api();
  const call = client.GET("/api/v1/projects/{project_id}", {
    params: { path: { project_id: id } },
  });
  try {
    const { data: project, response } = await answer(call);
    return { project, etag: response.headers.get("etag") ?? "*" };
  } catch (error) {
    // An id that is none is refused by 422.
    if (error instanceof ApiProblem && [404, 422].includes(error.status)) notFound();
    throw error;
  }
}

async function Documents({ projectId }: { projectId: string }) {
  const client = await api();
  const { data: page } = await answer(
    client.GET("/api/v1/projects/{project_id}/documents", {
      params: { path: { project_id: projectId }, query: { limit: 100 } },
    }),
  );
  if (page.items.length === 0) return <p>There are none yet.</p>;
  return (
    <ul className="list-disc space-y-1 pl-6">
      {page.items.map(({ id, title }) => (
        <li key={id} className="break-words">
          {title}
        </li>
      ))}
    </ul>
  );
}
