/**
 * The sliders of a rollout. They always sum to 100: what an arm takes it takes from control, and what control takes it
 * takes from the others, in proportion. A form that is being changed is left alone by what comes in live; it carries
 * the revision that it was made from, so that a change that came between is noticed.
 */

const ALL = 100;

/** @param {Element} place the part of the page that holds the forms, and is drawn anew when the policy changes */
export function watchRollouts(place) {
  let last = null;

  place.addEventListener("input", ({ target }) => {
    const form = target.closest("[data-rollout]");
    if (!form) return;
    if (target.type === "range") slide(form, target);
    mark(form);
  });
  place.addEventListener("reset", ({ target }) => setTimeout(() => settle(target)));
  return {
    asked: (form) => {
      last = form.matches("[data-rollout]") ? form : null;
    },
    /** The change that was asked for last was made, or can't be any more: the page's own state counts again. */
    done: () => {
      last?.removeAttribute("hx-morph-skip");
      last?.reset();
      last = null;
    },
  };
}

function slide(form, slider) {
  const arms = [...form.querySelectorAll("[data-arm]")];
  const moved = slider.closest("[data-arm]");
  const others = arms.filter((arm) => arm !== moved);
  const control = arms.find((arm) => "control" in arm.dataset);
  let wanted = Number(slider.value);
  if (moved === control) {
    share(others, ALL - wanted);
  } else {
    const rest = others.filter((arm) => arm !== control);
    wanted = Math.min(wanted, ALL - total(rest));
    set(control, ALL - total(rest) - wanted);
  }
  set(moved, wanted);
}

/** Share an amount out in proportion to what there is; all of it to the first where there is nothing. */
function share(arms, amount) {
  const before = total(arms);
  let left = amount;
  arms.forEach((arm, i) => {
    const part = before ? (value(arm) / before) * amount : i === 0 ? amount : 0;
    const given = i === arms.length - 1 ? left : Math.min(left, Math.round(part));
    set(arm, given);
    left -= given;
  });
}

function value(arm) {
  return Number(arm.querySelector("[type=number]").value);
}

function total(arms) {
  return arms.reduce((sum, arm) => sum + value(arm), 0);
}

function set(arm, amount) {
  const exact = Math.round(amount * ALL) / ALL;
  arm.querySelector("[type=number]").value = String(exact);
}

/** Show what the figures say: sliders where they are, the sum, and whether there is something to apply. */
function mark(form) {
  const arms = [...form.querySelectorAll("[data-arm]")];
  for (const arm of arms) {
    const slider = arm.querySelector("[type=range]");
    slider.value = String(value(arm));
    slider.setAttribute("aria-valuetext", `${value(arm)} percent`);
  }
  const changed = [...form.querySelectorAll("[type=number]")].some((one) => one.value !== one.defaultValue);
  const sum = Math.round(total(arms) * ALL) / ALL;
  form.toggleAttribute("hx-morph-skip", changed);
  form.querySelector("[data-apply]").hidden = !changed;
  form.querySelector("[data-apply] [type=submit]").disabled = sum !== ALL;
  const said = form.querySelector("[data-sum]");
  const text = sum === ALL ? "" : `They sum to ${sum} %: 100 are to be shared out.`;
  if (said.textContent !== text) said.textContent = text;
}

function settle(form) {
  mark(form);
  // What came in while it was being changed.
  document.body.dispatchEvent(new CustomEvent("policy-revised"));
}
