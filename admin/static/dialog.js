/** The dialog in which an act is confirmed: opened by what htmx puts into it, closed by an answer or by the keyboard. */

/**
 * @param {HTMLDialogElement} dialog
 * @param {(form: HTMLFormElement) => void} asked told of the form that asked the question
 */
export function openDialog(dialog, asked) {
  const place = dialog.firstElementChild;
  let reopened = null;

  document.body.addEventListener("submit", ({ target }) => {
    if (!dialog.contains(target) && target.getAttribute("hx-target") === "#question") {
      reopened = document.activeElement;
      asked(target);
    }
  });
  document.body.addEventListener("htmx:after:swap", ({ detail }) => {
    if (detail.ctx.target !== place || !place.firstElementChild) return;
    if (!dialog.open) dialog.showModal();
    (place.querySelector("[autofocus]") ?? place.querySelector("button"))?.focus();
  });
  dialog.addEventListener("click", ({ target }) => {
    // A click on the backdrop is one on the dialog itself.
    if (target === dialog || target.closest("[data-close]")) dialog.close();
  });
  dialog.addEventListener("close", () => {
    place.replaceChildren();
    // What asked may have been drawn anew meanwhile, under the same id.
    if (reopened && !reopened.isConnected && reopened.id) document.getElementById(reopened.id)?.focus();
  });
  return { close: () => dialog.open && dialog.close() };
}
