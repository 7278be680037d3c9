/* Brings ipywidgets alive in a rendered page, with no kernel and no network.

   The next script on the page is the notebook extension that ipywidgets installs (widgetsnbextension). It holds every
   control and the official widget manager, but expects a classic notebook around it. What follows is as much of a
   notebook as it asks for; then the manager is given the state that the page carries, and each view is drawn in place. */
(() => {
  "use strict";
  const STATE = "application/vnd.jupyter.widget-state+json";
  const VIEW = "application/vnd.jupyter.widget-view+json";

  // Answers every call and every property with itself: menus, key bindings, events.
  const nothing = new Proxy(function () {}, { get: () => nothing, apply: () => nothing });

  const notebook = {
    metadata: {}, events: nothing, keyboard_manager: nothing, container: nothing,
    get_cells: () => [], kernel: { comm_manager: nothing },
  };
  window.Jupyter = { version: "7.0.0", notebook, notification_area: nothing, menubar: nothing };
  const modules = {
    "base/js/namespace": window.Jupyter, "base/js/events": nothing, "notebook/js/outputarea": nothing,
  };
  window.requirejs = (names, then) => then(...names.map((name) => modules[name]));
  window.requirejs.config = () => {};

  window.define = (_, factory) => {
    delete window.define;
    const widgets = factory({ uri: document.currentScript.src });
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => start(widgets));
    else start(widgets);
  };

  async function start(widgets) {
    const menu = document.createElement("ul"); // the manager hangs its menu beside the notebook's help menu
    menu.innerHTML = '<li hidden><a id="help_menu"></a></li>';
    document.body.append(menu);
    await widgets.load_ipython_extension(); // adds the style sheets and makes the manager
    menu.remove();

    if (window.MathJax?.startup) { // widgets ask MathJax 2 to set their labels; the page has MathJax 3
      await MathJax.startup.promise;
      MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
    }

    const manager = notebook.kernel.widget_manager;
    manager._get_comm_info = async () => ({}); // no kernel, so no model lives there
    for (const script of document.querySelectorAll(`script[type="${STATE}"]`)) {
      await manager.set_state(JSON.parse(script.textContent));
    }
    for (const script of document.querySelectorAll(`script[type="${VIEW}"]`)) {
      const place = document.createElement("div");
      place.className = "jupyter-widgets-view";
      script.before(place);
      const model = await manager.get_model(JSON.parse(script.textContent).model_id);
      const view = await manager.create_view(model);
      widgets.JupyterLuminoWidget.attach(view.luminoWidget, place);
    }
    document.documentElement.dataset.widgets = "ready";
  }
})();
