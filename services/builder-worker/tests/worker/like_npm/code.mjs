/** The code of a package. */
export const CODE = 'module.exports = 42;\n';
