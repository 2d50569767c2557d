// The theme wraps tables in boxes that scroll. With a tab index the keyboard can scroll them too.
const reach = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((box) => (box.tabIndex = 0));
new MutationObserver(reach).observe(document.documentElement, { childList: true, subtree: true });
reach();
