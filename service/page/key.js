// The API key: asked for only when the server says 401, kept for this tab only. Pages bring the button that forgets it.

const NAME = "rddm-key";
const dialog = document.createElement("dialog");
dialog.id = "key-dialog";
dialog.setAttribute("aria-labelledby", "key-title");
dialog.innerHTML = `
  <form method="dialog">
    <h2 id="key-title">This server asks for a key</h2>
    <p id="key-detail">Whoever runs the server gives keys out. It is kept in this tab only, and forgotten when the tab is closed.</p>
    <div class="field">
      <label for="key">API key</label>
      <input id="key" type="password" autocomplete="off" required>
    </div>
    <div class="pair">
      <button class="button plain wide" type="button" data-do="cancel">Cancel</button>
      <button class="button primary wide" value="use">Use this key</button>
    </div>
  </form>
`;
document.body.append(dialog);
const field = document.querySelector("#key");
const forget = document.querySelector("#forget-key");
const detail = document.querySelector("#key-detail");
const standing = detail.textContent;
let kept = null; // where sessionStorage is closed, the page itself remembers
let asking = null; // requests that are refused together share one question

export function heldKey() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return kept;
  }
}

function keep(key) {
  kept = key;
  try {
    if (key) sessionStorage.setItem(NAME, key);
    else sessionStorage.removeItem(NAME);
  } catch {
    // kept in memory only
  }
  forget.hidden = !key;
}

// A header carries printable ASCII only: fetch would fail as if the server were gone.
const carried = (key) => /^[ -~]+$/.test(key);

function ask(why) {
  detail.textContent = why || standing;
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const key = dialog.returnValue === "use" ? field.value.trim() : "";
      if (key && !carried(key)) return resolve(ask("That is no key: keys have the letters, digits and signs of ASCII only."));
      if (key) keep(key);
      return resolve(key !== "");
    }, { once: true });
  });
}

// True once a key was given; why: the server's reason for refusing the last one.
export function askForKey(why) {
  asking ??= ask(why).finally(() => { asking = null; });
  return asking;
}

forget.hidden = !heldKey();
dialog.querySelector("[data-do=cancel]").addEventListener("click", () => dialog.close("cancel"));
forget.addEventListener("click", () => keep(null));
