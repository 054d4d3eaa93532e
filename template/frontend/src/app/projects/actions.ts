"use server";

import { revalidatePath } from "next/cache";
import { redirect } from "next/navigation";

import { answer, api } from "@core/api";
import { attempt, text } from "@core/forms/attempt";
import type { FormState } from "@core/forms/state";

export async function createProject(_: FormState, form: FormData): Promise<FormState> {
  return attempt(form, async () => {
    const body = { name: text(form, "name"), description: text(form, "description") || null };
    const client = await api();
    const { data } = await answer(client.POST("/api/v1/projects", { body }));
    redirect(`/projects/${data.id}`);
  });
}

export async function renameProject(
  project: { id: string; etag: string },
  _: FormState,
  form: FormData,
): Promise<FormState> {
  return attempt(form, async () => {
    const client = await api();
    await client.PATCH("/api/v1/projects/{project_id}", {
      params: { path: { project_id: project.id }, header: { "if-match": project.etag } },
      body: { name: text(form, "name") },
    });
    revalidatePath(`/projects/${project.id}`);
    return "Saved.";
  });
}

export async function deleteProject(id: string): Promise<void> {
  const client = await api();
  await client.DELETE("/api/v1/projects/{project_id}", { params: { path: { project_id: id } } });
  redirect("/projects");
}

export async function addDocument(
  projectId: string,
  _: FormState,
  form: FormData,
): Promise<FormState> {
  return attempt(form, async () => {
    const client = await api();
    await client.POST("/api/v1/projects/{project_id}/documents", {
      params: { path: { project_id: projectId } },
      body: { title: text(form, "title"), content: text(form, "content") },
    });
    revalidatePath(`/projects/${projectId}`);
    return "Added.";
  });
}
