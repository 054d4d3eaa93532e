import type { Metadata } from "next";
import Link from "next/link";

import { answer, api } from "@core/api";
import { Field, Form, TextArea } from "@core/forms/form";
import { requireSession } from "@core/session/guard";

import { createProject, deleteProject } from "./actions";

export const metadata: Metadata = { title: "Projects" };

type Props = { searchParams: Promise<{ cursor?: string }> };

export default async function Projects({ searchParams }: Props) {
  await requireSession();
  const { cursor } = await searchParams;
  const client = await api();
  const { data: page } = await answer(
    client.GET("/api/v1/projects", { params: { query: { cursor, limit: 10 } } }),
  );
  return (
    <>
      <h1>Projects</h1>
      <section className="card">
        <h2>A new project</h2>
        <Form action={createProject} submit="Create">
          <Field name="name" label="Name" required />
          <TextArea name="description" label="Description" />
        </Form>
      </section>
      <ul className="space-y-2">
        {page.items.map(({ id, name }) => (
          <li key={id} className="card flex items-center gap-4 space-y-0">
            <Link href={`/projects/${id}`} className="mr-auto min-w-0 break-words">
              {name}
            </Link>
            <form action={deleteProject.bind(null, id)}>
              <button type="submit" className="link-button" aria-label={`Delete ${name}`}>
                Delete
              </button>
            </form>
          </li>
        ))}
      </ul>
      {page.items.length === 0 && <p>There are no projects yet.</p>}
      {page.next_cursor && (
        <p>
          <Link href={`/projects?cursor=${encodeURIComponent(page.next_cursor)}`}>Older ones</Link>
        </p>
      )}
    </>
  );
}
